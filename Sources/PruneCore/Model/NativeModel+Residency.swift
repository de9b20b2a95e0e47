extension NativeModel {
    /// Whether the weights are larger than the memory that is free, so that a mapped file is read again in every pass.
    /// Pages of the file that are in memory count as free.
    public var rereadsWeights: Bool {
        // Cannot overflow: they are bytes of memory, or of files mapped into it.
        let bytes = shape.sublayers.reduce(shape.fixedParameterBytes) { $0 + $1.parameterBytes }
        return bytes > Runtime.freeMemory
    }
}
