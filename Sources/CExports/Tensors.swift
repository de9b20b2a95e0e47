// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

@c @implementation
public func prune_model_from_tensors(
    _ config_json: UnsafePointer<CChar>!, _ tensors: UnsafePointer<prune_tensor>!, _ n_tensors: Int,
    _ options: UnsafePointer<prune_model_options>!, _ out_model: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_model?.pointee = nil
    return guarded { () throws(PruneError) in
        let config = try need(config_json, "config_json")
        let out = try need(out_model, "out_model")
        let lent = try each(tensors, n_tensors, "tensors") { (tensor, name) throws(PruneError) in
            try lentTensor(tensor, name)
        }
        let options = try readModelOptions(options)
        let notice = options.notice
        out.pointee = try lendingModel(config, lent, options.compute) { notice.tell() }
    }
}

@c @implementation
public func prune_model_from_dlpack(
    _ config_json: UnsafePointer<CChar>!, _ names: UnsafePointer<UnsafePointer<CChar>?>!,
    _ tensors: UnsafePointer<OpaquePointer?>!, _ n_tensors: Int, _ options: UnsafePointer<prune_model_options>!,
    _ out_model: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_model?.pointee = nil
    return guarded { () throws(PruneError) in
        let config = try need(config_json, "config_json")
        let out = try need(out_model, "out_model")
        let names = try each(names, n_tensors, "names") { (name, place) throws(PruneError) in
            try text(try need(name, place), place)
        }
        let managed = try each(tensors, n_tensors, "tensors") { (tensor, place) throws(PruneError) in
            ManagedTensor(try need(tensor, place))
        }
        let lent = try zip(names, managed).map { name, tensor throws(PruneError) in try tensor.lent(as: name) }
        let options = try readModelOptions(options)
        let notice = options.notice
        out.pointee = try lendingModel(config, lent, options.compute) {
            ManagedTensor.deleteAll(managed)
            notice.tell()
        }
    }
}

/// A model over memory of the host; `whenReturned` is called once nothing uses the memory, and not if the model cannot be
/// made.
private func lendingModel(
    _ config: UnsafePointer<CChar>, _ tensors: [LentTensor], _ compute: ComputeType?,
    whenReturned: @escaping @Sendable () -> Void
) throws(PruneError) -> OpaquePointer? {
    let memory = LentMemory()
    let text = try text(config, "config_json")
    let checkpoint = try Checkpoint.lent(configuration: Array(text.utf8), name: "config_json", tensors, in: memory)
    let model = try openModel(checkpoint, compute: compute)
    memory.whenReturned(whenReturned)
    return try HandleTable.add(ModelHandle(model))
}

/// A tensor as the host states it. Errors: `.argument` for a NULL, or what is none of an enumeration's values.
private func lentTensor(_ tensor: prune_tensor, _ place: String) throws(PruneError) -> LentTensor {
    let name = try text(try need(tensor.name, "\(place).name"), "\(place).name")
    // Checked before the sizes are read: there are as many of them.
    guard tensor.n_dimensions == 1 || tensor.n_dimensions == 2 else {
        throw PruneError(
            .argument, "\(place).n_dimensions, of tensor \(name.quoted), is \(tensor.n_dimensions); it must be 1 or 2")
    }
    let count = Int(tensor.n_dimensions)
    let shape = try array(try need(tensor.shape, "\(place).shape, of tensor \(name.quoted),"), count, "\(place).shape")
    let strides = try tensor.strides.map { strides throws(PruneError) in try array(strides, count, "\(place).strides") }
    // Tensors without elements may have NULL: it is their shape that is wrong.
    let data = shape.contains(0) ? tensor.data : try need(tensor.data, "\(place).data, of tensor \(name.quoted),")
    return LentTensor(
        name: name, data: data,
        try elementType(tensor.element_type, "\(place).element_type, of tensor \(name.quoted),"), shape: shape,
        strides: strides)
}

/// Calls `body` with every element of a caller's array, and with what error texts call it, "tensors[3]".
///
/// Read in place: a count that is wrong should not cost memory first.
/// Errors: `.argument` for NULL, or a count no array can have.
private func each<Element, Result>(
    _ elements: UnsafePointer<Element>?, _ count: Int, _ name: String,
    _ body: (Element, String) throws(PruneError) -> Result
) throws(PruneError) -> [Result] {
    guard count >= 0, !count.multipliedReportingOverflow(by: MemoryLayout<Element>.stride).overflow else {
        throw PruneError(.argument, "\(name) cannot have \(UInt(bitPattern: count)) elements")
    }
    guard count > 0 else { return [] }
    let elements = try need(elements, name)
    var results: [Result] = []
    // Safe: the caller states that there are as many.
    for index in 0..<count {
        try results.makeRoom(for: 1, of: name, "give fewer")
        results.append(try body(elements[index], "\(name)[\(index)]"))
    }
    return results
}
