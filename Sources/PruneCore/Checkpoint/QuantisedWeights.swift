// SPDX-License-Identifier: Apache-2.0
/// Weights that a tool quantised, known by the names of their parts: config.json does not always say it.
enum QuantisedWeights {
    /// How the names of parts end that only quantised weights have, and which tools write them.
    private static let endings: [(ending: String, tool: String)] = [
        (".qweight", "GPTQ or AWQ"), (".qzeros", "GPTQ or AWQ"), (".g_idx", "GPTQ"),
        (".weight_packed", "compressed-tensors"), (".weight_scale", "FP8 or compressed-tensors"),
        (".weight_scale_inv", "FP8"), (".absmax", "bitsandbytes"), (".quant_map", "bitsandbytes"),
        (".SCB", "bitsandbytes"), (".W_q", "HQQ"), (".weight.scales", "MLX"), (".scales", "MLX, GPTQ or AWQ"),
    ]

    /// Files beside the weights that quantising tools leave.
    private static let files = ["quantize_config.json", "quant_config.json", "quantization_config.json"]

    /// Errors: `.unsupported`, naming a tensor or a file, if weights are quantised.
    ///
    /// - Parameter names: of all tensors of a checkpoint.
    static func refuse(_ names: some Sequence<String>, in directory: String) throws(PruneError) {
        let advice = "open the model in BF16, F16 or F32"
        // The least, so that of several the same one is reported every time.
        var found: (name: String, tool: String)?
        for name in names where found.map({ name < $0.name }) ?? true {
            if let match = endings.first(where: { name.hasSuffix($0.ending) }) { found = (name, match.tool) }
        }
        if let found {
            throw PruneError(
                .unsupported,
                "\(directory): the weights are quantized: tensor \(found.name.quoted) is one that \(found.tool) writes; "
                    + advice)
        }
        if let file = files.first(where: { MappedFile.exists("\(directory)/\($0)") }) {
            throw PruneError(.unsupported, "\(directory): the weights are quantized, as \(file) says; \(advice)")
        }
    }
}
