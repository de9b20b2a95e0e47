// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Plans and the table of families as JSON.
@Suite struct PlanDocumentTests {
    func object(_ text: String) throws -> ConfigObject { try ConfigObject.parse(Array(text.utf8), path: "plan") }

    @Test(arguments: Architecture.supported.map(\.name))
    func thePlanOfEveryFamilyIsJSON(_ name: String) throws {
        let config = try parseFamily(name)
        let plan = try object(PlanDocument.text(of: config))
        #expect(try plan.string("format") == "prunecore.plan" && plan.count("version", limit: 9) == 1)
        #expect(try plan.string("architecture") == name)
        let sublayers = try plan.objects("sublayers")
        #expect(
            try sublayers.map { own throws(PruneError) in try own.string("name") } == [
                "attn.0", "ffn.0", "attn.1", "ffn.1",
            ])
        for (own, kind) in zip(sublayers, ["attention", "", "attention", ""]) {
            let found = try own.object("update").string("kind")
            #expect(kind.isEmpty ? ["feed_forward", "mixture"].contains(found) : found == kind)
        }
        // Every tensor that the model needs is named.
        let text = PlanDocument.text(of: config)
        for tensor in plannedTensors(config) { #expect(text.contains("\"\(tensor.name)\""), "\(tensor.name)") }
    }

    @Test func aPlanSaysWhatASublayerComputes() throws {
        let config = try parseFamily(
            "Gemma2ForCausalLM",
            ["sliding_window": "5", "rope_scaling": #"{"rope_type": "linear", "factor": 4}"#])
        let first = try object(PlanDocument.text(of: config)).objects("sublayers")[0]
        let before = try first.object("before")
        #expect(try before.string("kind") == "rms" && before.optionalNumber("offset") == 1)
        #expect(try before.optionalStrings("gains") == ["model.layers.0.input_layernorm.weight"])
        let update = try first.object("update")
        #expect(try update.count("window", limit: 9) == 5 && update.optionalNumber("soft_cap") == 50)
        let query = try update.object("inputs").object("query")
        #expect(try query.count("outputs", limit: 99) == 24 && query.count("inputs", limit: 99) == 24)
        #expect(try query.object("weight").numbers("shape") == [24, 24])
        let rotary = try update.object("rotary")
        #expect(try rotary.string("scaling") == "linear" && rotary.optionalNumber("factor") == 4)
        #expect(try rotary.numbers("inverse_frequencies").count == 3)
    }

    /// JSON has no word for what is not finite.
    @Test func numbersThatAFloatCannotHoldAreNull() throws {
        let config = try parseFamily("GraniteForCausalLM", ["embedding_multiplier": "1e300"])
        let plan = try object(PlanDocument.text(of: config))
        #expect(try plan.object("embedding").optionalNumber("scale") == nil)
    }

    @Test func everyFamilyIsInTheTable() throws {
        guard case .array(let rows) = try JSONValue.parse(Array(ArchitectureDocument.text.utf8), source: "table") else {
            Issue.record("it is no array")
            return
        }
        var names: [String] = []
        for case .object(let members) in rows {
            if case .string(let name)? = members["name"] { names.append(name) }
            for key in ["model_type", "block_class", "attention", "feed_forward", "norm", "is_parallel", "is_mixture"] {
                #expect(members[key] != nil && members[key] != .null, "\(key)")
            }
        }
        #expect(names == Architecture.known.map(\.name))
        let table = try object(#"{"rows": \#(ArchitectureDocument.text)}"#).objects("rows")
        let neox = try #require(try table.first { own in try own.string("name") == "GPTNeoXForCausalLM" })
        #expect(try neox.object("is_parallel").string("key") == "use_parallel_residual")
        #expect(try neox.object("is_parallel").bool("missing", default: false))
        #expect(try neox.object("attention").optionalStrings("modules") == ["attention"])
    }
}
