// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

/// Settings of every Swift target: a name is visible only where its module is imported, and existentials are spelled out.
let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "prunecore",
    products: [
        // The file users get is linked by scripts/build-library.sh, which adds the static runtime and the version script.
        .library(name: "prunecore", type: .dynamic, targets: ["CExports"])
    ],
    targets: [
        // The public header is itself the Swift module that CExports implements.
        .systemLibrary(name: "CPruneCore", path: "include"),
        .systemLibrary(
            name: "COpenBLAS",
            path: "Sources/PruneCore/COpenBLAS",
            pkgConfig: "openblas",
            providers: [.apt(["libopenblas-dev"])]
        ),
        // Loops that Swift cannot say: relaxed reductions, and code for a CPU recognised at run time.
        .target(name: "CKernels", path: "Sources/PruneCore/CKernels", publicHeadersPath: "."),
        // Locks that a forked child can use, and OpenBLAS's threads and buffers.
        .target(
            name: "CThreads", path: "Sources/PruneCore/CThreads", publicHeadersPath: "."),
        // A system call that Glibc's module does not show.
        .systemLibrary(name: "CRename", path: "Sources/PruneCore/CRename"),
        .target(
            name: "PruneCore",
            dependencies: ["COpenBLAS", "CKernels", "CThreads", "CRename"],
            exclude: ["COpenBLAS", "CKernels", "CThreads", "CRename"],
            // What an exported checkpoint needs to run in transformers, inside the library: it is one file.
            resources: [
                "configuration_prunecore", "modeling_prunecore", "configuration_decilm", "modeling_decilm",
                "prunecore_layers",
            ].map { .embedInCode("Export/Modelling/\($0).py") },
            swiftSettings: settings
        ),
        // DLPack's structs as they lie in memory.
        .systemLibrary(name: "CDLPack", path: "Sources/CExports/CDLPack"),
        .target(
            name: "CExports",
            dependencies: ["PruneCore", "CPruneCore", "CDLPack"],
            exclude: ["CDLPack"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "PruneCoreTests",
            dependencies: ["PruneCore"],
            swiftSettings: settings
        ),
    ]
)
