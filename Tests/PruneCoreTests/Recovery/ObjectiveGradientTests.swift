// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite struct ObjectiveGradientTests {
    /// The objective with one parameter moved, as an evaluation of its own.
    private func loss(
        _ own: TrainingCase, _ adapters: AdapterSet, _ objective: RecoveryObjective, moving index: Int,
        of sublayer: Int,
        by step: Float
    ) throws -> Double {
        var moved = adapters.adapters
        moved[sublayer]?.parameters[index] += step
        let pass = GradientPass(own.model, own.mask, objective)
        return try HeldOutObjective(pass, own.data, batchTokens: 1000).loss(moved)
    }

    @Test(arguments: TrainingTests.objectives, AdapterKind.allCases)
    func adapterGradientsAgreeWithDifferences(_ objective: RecoveryObjective, _ kind: AdapterKind) throws {
        var own = try TrainingCase(removing: [1, 2, 4], sequences: 6, weighted: true)
        own.options.kind = kind
        let adapters = try own.randomAdapters()
        for sublayer in adapters.sublayers {
            let (gradient, value) = try adapterGradient(
                own.model, own.data, adapters, objective, atSublayer: sublayer, batchTokens: 20)
            let whole = try loss(own, adapters, objective, moving: 0, of: sublayer, by: 0)
            #expect(abs(value - whole) < 1e-5 * whole)
            for index in stride(from: 0, to: gradient.count, by: 5) {
                let step: Float = 1e-2
                let more = try loss(own, adapters, objective, moving: index, of: sublayer, by: step)
                let less = try loss(own, adapters, objective, moving: index, of: sublayer, by: -step)
                let slope = (more - less) / (2 * Double(step))
                #expect(abs(Double(gradient[index]) - slope) < 2e-4 + 1e-2 * abs(slope), "\(sublayer) \(index)")
            }
        }
    }

    /// A bias at a removed sublayer is added to every row there, so its gradient is the sum of the state's over rows.
    @Test(arguments: [RecoveryObjective.crossEntropy, .kl, .js], [0, 2, 5])
    func stateGradientsAreThoseOfABias(_ objective: RecoveryObjective, _ removed: Int) throws {
        var own = try TrainingCase(removing: [removed], sequences: 8, weighted: true)
        own.options.kind = .bias
        let zero = AdapterSet(
            mask: own.mask, adapters: [removed: Adapter(.bias, width: 6)], weightSample: [], hiddenSize: 6)
        let (bias, loss) = try adapterGradient(
            own.model, own.data, zero, objective, atSublayer: removed, batchTokens: 30)
        // The removed sublayer does nothing, so before it and after it is the same.
        for sublayer in [removed, removed + 1] {
            let (states, own) = try objectiveGradient(
                own.model, own.data, under: own.mask, objective, atSublayer: sublayer, batchTokens: 25)
            #expect(abs(own - loss) < 1e-6)
            for column in 0..<6 {
                let sum = stride(from: column, to: states.count, by: 6).reduce(0.0) { $0 + Double(states.pointer[$1]) }
                #expect(abs(sum - Double(bias[column])) < 1e-5)
            }
        }
    }

    /// Below the first removed sublayer too: moving the embedding of all tokens alike is a bias before sublayer 0.
    @Test func stateGradientsReachBelowWhatIsRemoved() throws {
        let own = try TrainingCase(removing: [4], sequences: 5)
        let early = KeepMask(blocks: 3).removing(unit: 4, .sublayer)
        let (states, loss) = try objectiveGradient(
            own.model, own.data, under: early, .kl, atSublayer: 0, batchTokens: 30)
        let (whole, same) = try objectiveGradient(
            own.model, own.data, under: early, .kl, atSublayer: 0, batchTokens: 1000)
        #expect(abs(loss - same) < 1e-6)
        for index in 0..<states.count { #expect(abs(states.pointer[index] - whole.pointer[index]) < 1e-6) }
        #expect((0..<states.count).contains { abs(states.pointer[$0]) > 1e-4 })
    }

    @Test func objectiveGradientsRefuseWhatTheyCannotDo() throws {
        var own = try TrainingCase()
        let adapters = try own.randomAdapters()
        for objective in [RecoveryObjective.mse, .closedForm] {
            expectFault(.argument, naming: objective.name) {
                _ = try objectiveGradient(
                    own.model, own.data, under: own.mask, objective, atSublayer: 0, batchTokens: 9)
            }
        }
        for sublayer in [-1, 7] {
            expectFault(.argument, naming: "sublayer \(sublayer)") {
                _ = try objectiveGradient(
                    own.model, own.data, under: own.mask, .kl, atSublayer: sublayer, batchTokens: 9)
            }
        }
        expectFault(.argument, naming: "sublayer 0") {
            _ = try adapterGradient(own.model, own.data, adapters, .kl, atSublayer: 0, batchTokens: 9)
        }
        expectFault(.cancelled, naming: "gradient") {
            _ = try adapterGradient(own.model, own.data, adapters, .kl, atSublayer: 1, batchTokens: 9) { _ in true }
        }
        let single = try TokenData(tokens: [1, 2, 3], lengths: [1, 1, 1], weights: nil)
        expectFault(.data, naming: "nothing to predict") {
            _ = try adapterGradient(own.model, single, adapters, .kl, atSublayer: 1, batchTokens: 9)
        }
        own.model = CurvedModel(hasGradients: false)
        expectFault(.unsupported, naming: "gradients") {
            _ = try adapterGradient(own.model, own.data, adapters, .kl, atSublayer: 1, batchTokens: 9)
        }
        own.model = CurvedModel(blocks: 2)
        expectFault(.argument, naming: "2") {
            _ = try adapterGradient(own.model, own.data, adapters, .kl, atSublayer: 1, batchTokens: 9)
        }
    }
}
