# SPDX-License-Identifier: Apache-2.0
"""PruneCore: depth pruning of language models, in process.

    import prunecore as pc

    model = pc.open("examples/models/tales-12l")
    data = pc.Data.from_text("calibration.txt", model, sequence_length=256, limit=200)
    scores = model.score(data, metrics=["cosine", "relative_l2"], granularity="attention")
    mask = scores.prune(4, metric="cosine")
    with model.masked(mask):
        print(model.evaluate(data).loss)
    added = model.shapley(data, budget=512)
    print(added.values, added.standard_errors)
    found = model.search(data, "greedy", remove=4)
    print(found.mask.removed, found.damage)

Importing the package loads the C library, and fails with `LoadError` (an `ImportError`) where that
is not possible.

Everything that a program needs is here, and in `prunecore.torch`, `prunecore.plots`,
`prunecore.export.gguf` and `prunecore.integrations.lm_eval`, which load other packages. Behind it
the package is built in floors; a module imports from its own floor and those below it:

    errors              exceptions
    _native             the C library: loading, handles, progress, and names/ of its constants
    masks, tensors, shape, hub
    opened              OpenModel, which every feature takes: an open model without verbs
    data                token sequences, texts, multiple-choice questions
    measures            losses, answers, damages, times, gradients
    importance, generation, recovery
    shapley, export, diagnosis
    search, model       model: Model, which is OpenModel and the verbs of all features
    hosts, studies      models that this program holds or runs; comparisons of several runs
    plots, torch        pictures; PyTorch
    cli, integrations   what uses this module as any program does

Modules are named by one rule. A call stands in the module of its verb (`importance.score`,
`measures.evaluate`, `shapley.play`), what it returns in the module of its noun
(`importance.scores`, `measures.evaluation`, `shapley.scores`); where the call is a noun itself
(`measures.damages`), one module holds both. No two names differ by an underscore alone.
"""

from prunecore._native.architectures import Architecture, architectures
from prunecore._native.library import __version__
from prunecore._native.names.metric_facts import METRICS, STATIC_METRICS
from prunecore._native.names.tables import (
    ADAPTER_KINDS,
    COMPUTE_TYPES,
    ESTIMATORS,
    GRANULARITIES,
    MEASURES,
    OBJECTIVES,
    STRATEGIES,
)
from prunecore._native.runtime import Runtime, runtime_info, set_threads
from prunecore.data.choice_data import ChoiceData
from prunecore.data.choice_item import ChoiceItem
from prunecore.data.choice_set import ChoiceSet
from prunecore.data.data import Data
from prunecore.diagnosis.diagnosis import Diagnosis
from prunecore.diagnosis.verdict import Evidence, Verdict
from prunecore.errors import (
    ArgumentError,
    Cancelled,
    ContextWarning,
    DataError,
    Error,
    FileError,
    FormatError,
    HandleError,
    HostError,
    InternalError,
    LoadError,
    NonFiniteError,
    OutOfMemoryError,
    TooSmallBufferError,
    UnsupportedError,
)
from prunecore.export.verification import Verification
from prunecore.generation.generation import GeneratedToken, Generation
from prunecore.hosts.from_arrays import from_arrays
from prunecore.hosts.from_host import from_host
from prunecore.hosts.from_torch import from_torch
from prunecore.hosts.host import Host, HostAdapter, HostBatch
from prunecore.hosts.host_model import HostModel
from prunecore.importance.curve import Curve
from prunecore.importance.neuron_scores import NEURON_METRICS, NeuronScores
from prunecore.importance.scores import Scores
from prunecore.importance.statistics import Statistics
from prunecore.importance.topology import Topology
from prunecore.masks.mask import Mask
from prunecore.measures.choice_evaluation import ChoiceEvaluation, SubjectAccuracy
from prunecore.measures.damages import Damages, WalkReport
from prunecore.measures.evaluation import Evaluation
from prunecore.measures.gradients import AdapterGradient, StateGradient
from prunecore.measures.token_times import TokenTimes
from prunecore.model import EditedModel, HealedModel, Model, RecoveredModel, SharedModel, open
from prunecore.recovery.adapter_records import Adapter, RecoverySummary, TrainingRecord
from prunecore.recovery.adapters import Adapters
from prunecore.recovery.healed import Healed, HealingRecord
from prunecore.recovery.moments import Moments
from prunecore.recovery.options import TrainingProgress
from prunecore.recovery.shared import Shared, SharedWeight, SharingSummary
from prunecore.recovery.sharing_analysis import SharingAnalysis
from prunecore.search.ask_tell import Search
from prunecore.search.merge_result import MergeResult, MergeStep
from prunecore.search.result import SearchResult
from prunecore.search.state import SearchState, SearchStep
from prunecore.search.watch import SearchProgress
from prunecore.shape import Cost, ModelShape, Sublayer
from prunecore.shapley.game import Game
from prunecore.shapley.scores import ShapleyScores
from prunecore.shapley.state import GameState, ShapleyValues
from prunecore.shapley.watch import GameProgress
from prunecore.studies.compare_tasks import compare_tasks
from prunecore.studies.recovery_study import RecoveryPoint, RecoveryStudy
from prunecore.studies.search_study import SearchPoint, SearchStudy
from prunecore.studies.study_recovery import study_recovery
from prunecore.studies.study_search import study_search
from prunecore.studies.task_comparison import Compromise, TaskComparison

__all__ = [
    "ADAPTER_KINDS",
    "COMPUTE_TYPES",
    "ESTIMATORS",
    "GRANULARITIES",
    "MEASURES",
    "METRICS",
    "NEURON_METRICS",
    "OBJECTIVES",
    "STATIC_METRICS",
    "STRATEGIES",
    "Adapter",
    "AdapterGradient",
    "Adapters",
    "Architecture",
    "ArgumentError",
    "Cancelled",
    "ChoiceData",
    "ChoiceEvaluation",
    "ChoiceItem",
    "ChoiceSet",
    "Compromise",
    "ContextWarning",
    "Cost",
    "Curve",
    "Damages",
    "Data",
    "DataError",
    "Diagnosis",
    "EditedModel",
    "Error",
    "Evaluation",
    "Evidence",
    "FileError",
    "FormatError",
    "Game",
    "GameProgress",
    "GameState",
    "GeneratedToken",
    "Generation",
    "HandleError",
    "Healed",
    "HealedModel",
    "HealingRecord",
    "Host",
    "HostAdapter",
    "HostBatch",
    "HostError",
    "HostModel",
    "InternalError",
    "LoadError",
    "Mask",
    "MergeResult",
    "MergeStep",
    "Model",
    "ModelShape",
    "Moments",
    "NeuronScores",
    "NonFiniteError",
    "OutOfMemoryError",
    "RecoveredModel",
    "RecoveryPoint",
    "RecoveryStudy",
    "RecoverySummary",
    "Runtime",
    "Scores",
    "Search",
    "SearchPoint",
    "SearchProgress",
    "SearchResult",
    "SearchState",
    "SearchStep",
    "SearchStudy",
    "ShapleyScores",
    "ShapleyValues",
    "Shared",
    "SharedModel",
    "SharedWeight",
    "SharingAnalysis",
    "SharingSummary",
    "StateGradient",
    "Statistics",
    "SubjectAccuracy",
    "Sublayer",
    "TaskComparison",
    "TokenTimes",
    "TooSmallBufferError",
    "Topology",
    "TrainingProgress",
    "TrainingRecord",
    "UnsupportedError",
    "Verdict",
    "Verification",
    "WalkReport",
    "__version__",
    "architectures",
    "compare_tasks",
    "from_arrays",
    "from_host",
    "from_torch",
    "open",
    "runtime_info",
    "set_threads",
    "study_recovery",
    "study_search",
]
