// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

extension ComputeType {
    /// The environment variable that decides where a program leaves the compute type open.
    public static let environmentVariable = "PRUNECORE_COMPUTE"

    /// The type for a model whose opener names none: that of the environment, else the automatic one.
    ///
    /// The variable is read anew each time: a program may set it after the library was loaded.
    ///
    /// - Parameter stored: the type that the model's weights are stored in.
    /// Errors: as `preferred(_:for:)`.
    public static func preferred(for stored: ElementType) throws(PruneError) -> ComputeType {
        try preferred(getenv(environmentVariable).map { String(cString: $0) }, for: stored)
    }

    /// The same, with the variable's value given; nil or "" = unset.
    ///
    /// Errors: `.argument` for a value that names no type; `.unsupported` for a type that this CPU lacks. Both name the
    /// variable, because the program that runs into them did not choose.
    static func preferred(_ value: String?, for stored: ElementType) throws(PruneError) -> ComputeType {
        guard let value, !value.isEmpty else { return automatic(for: stored) }
        guard let type = ComputeType(rawValue: value) else {
            let names = allCases.map(\.rawValue).joined(separator: " or ")
            throw PruneError(.argument, "\(environmentVariable) is \(value.quoted); it must be \(names), or be unset")
        }
        guard type.isSupported else {
            throw PruneError(
                .unsupported,
                "\(environmentVariable) is \(value), but this CPU has no instructions for it; unset it, or set it to float32"
            )
        }
        return type
    }
}
