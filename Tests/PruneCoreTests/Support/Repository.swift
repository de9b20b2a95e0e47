// SPDX-License-Identifier: Apache-2.0
import Foundation

/// The root of the repository.
let repository = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

/// The directory of the embedded model, whose weights are stored in bf16.
let talesDirectory = repository.appendingPathComponent("examples/models/tales-12l").path
