// SPDX-License-Identifier: Apache-2.0
/// Runs what reads weights of mapped files, which must be before and after what they were when the model was opened: before,
/// so that nothing is touched that is gone; after, so that no result is made of other weights.
///
/// Errors: `.file`, naming the file that changed; those of `body`.
func reading<Result>(
    _ files: [MappedFile], _ body: () throws(PruneError) -> Result
) throws(PruneError) -> Result {
    for file in files { try file.checkUnchanged() }
    let result = try body()
    for file in files { try file.checkUnchanged() }
    return result
}

extension NativeModel {
    /// Runs what reads the weights of a sublayer. Errors: as `reading`.
    func readingSublayer<Result>(
        _ sublayer: Int, _ body: () throws(PruneError) -> Result
    ) throws(PruneError) -> Result {
        try reading(weights.files.sublayers[sublayer], body)
    }

    /// Runs what reads final norm and head. Errors: as `reading`.
    func readingHead<Result>(_ body: () throws(PruneError) -> Result) throws(PruneError) -> Result {
        try reading(weights.files.head, body)
    }
}
