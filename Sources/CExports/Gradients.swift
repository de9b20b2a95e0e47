// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

@c @implementation
public func prune_model_vjp(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ sublayer: Int64, _ states: UnsafePointer<Float>!,
    _ gradients: UnsafePointer<Float>!, _ n_values: Int, _ options: UnsafePointer<prune_evaluate_options>!,
    _ out_gradients: UnsafeMutablePointer<Float>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let model = try HandleTable.object(model, ModelHandle.self, "model").model
        let data = try tokens(data, "data")
        let options = try evaluateOptions(options)
        let states = try array(try need(states, "states"), n_values, "states")
        let gradients = try array(try need(gradients, "gradients"), n_values, "gradients")
        let out = try need(out_gradients, "out_gradients")
        let values = try vectorJacobianProduct(
            model, data, ofSublayer: Int(clamping: sublayer), at: states, of: gradients,
            batchTokens: try batchTokens(options.batch_tokens), progress: listener(options.progress, options.user_data))
        out.update(from: values, count: values.count)
    }
}

@c @implementation
public func prune_model_gradient(
    _ model: OpaquePointer!, _ data: OpaquePointer!, _ keep: UnsafePointer<UInt8>!, _ n_keep: Int,
    _ objective: prune_objective, _ sublayer: Int64, _ options: UnsafePointer<prune_evaluate_options>!,
    _ out_gradient: UnsafeMutablePointer<Float>!, _ capacity: Int, _ out_count: UnsafeMutablePointer<Int>!,
    _ out_loss: UnsafeMutablePointer<Double>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = try tokens(data, "data")
        let options = try evaluateOptions(options)
        let mask = try mask(keep, n_keep, or: handle)
        let (count, overflow) = data.tokens.count.multipliedReportingOverflow(by: handle.model.shape.hiddenSize)
        guard !overflow else {
            throw PruneError(.argument, "out_gradient would have more elements than memory has addresses")
        }
        let out = try room(for: count, in: out_gradient, capacity, out_count, "out_gradient")
        let found = try objectiveGradient(
            handle.model, data, under: mask, try choice(objective, "objective"), atSublayer: Int(clamping: sublayer),
            batchTokens: try batchTokens(options.batch_tokens), progress: listener(options.progress, options.user_data))
        found.gradient.copy(to: out)
        out_loss?.pointee = found.loss
    }
}

@c @implementation
public func prune_adapters_gradient(
    _ adapters: OpaquePointer!, _ model: OpaquePointer!, _ data: OpaquePointer!, _ objective: prune_objective,
    _ sublayer: Int64, _ options: UnsafePointer<prune_evaluate_options>!, _ out_gradient: UnsafeMutablePointer<Float>!,
    _ capacity: Int, _ out_count: UnsafeMutablePointer<Int>!, _ out_loss: UnsafeMutablePointer<Double>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let set = try HandleTable.object(adapters, AdaptersHandle.self, "adapters").current
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let data = try tokens(data, "data")
        let options = try evaluateOptions(options)
        let place = Int(clamping: sublayer)
        let count = try set.parameterCount(atSublayer: place)
        let out = try room(for: count, in: out_gradient, capacity, out_count, "out_gradient")
        let found = try adapterGradient(
            handle.model, data, set, try choice(objective, "objective"), atSublayer: place,
            batchTokens: try batchTokens(options.batch_tokens), progress: listener(options.progress, options.user_data))
        out.update(from: found.gradient, count: min(count, found.gradient.count))
        out_loss?.pointee = found.loss
    }
}
