// SPDX-License-Identifier: Apache-2.0
/// The results of `body` on each piece, computed on all threads, in the order of the pieces; nil if one of them was nil.
func mapOnAllThreads<Piece, Result>(_ pieces: [Piece], _ body: @escaping (Piece) -> Result?) -> [Result]? {
    var results = [Result?](repeating: nil, count: pieces.count)
    results.withUnsafeMutableBufferPointer { results in
        // Safe: each index is written by one thread, once.
        nonisolated(unsafe) let results = results
        ThreadPool.forEach(pieces.count) { index, _ in results[index] = body(pieces[index]) }
    }
    let found = results.compactMap { $0 }
    return found.count == pieces.count ? found : nil
}
