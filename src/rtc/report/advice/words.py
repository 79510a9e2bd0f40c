"""What methods and estimators do, in a few words for someone with a robot."""

from collections.abc import Mapping
from types import MappingProxyType

METHOD_TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "naive": "switch to every new chunk as soon as it arrives, at the action that is due",
        "carried_noise": "start the flow of every chunk from the noise of the last one, so that both choose alike",
        "synchronous": "hold still from the query until the chunk is there, then execute it from its start",
        "temporal_ensemble": "execute the mean of what all chunks so far say for a tick",
        "realtime": "Real-Time Chunking, which guides every new chunk to continue the old one, softly",
        "hard_masking": "Real-Time Chunking that guides only the actions that run before the chunk arrives",
        "trained_prefix": "training-time Real-Time Chunking, a policy that was trained to continue committed actions",
        "a2c2": "a small network corrects every action from the newest observation",
        "foresee_learned": "a small model predicts the state at hand-over, and the policy is asked for that state",
        "foresee_learned+a2c2": "the policy is asked for the predicted state, and every action is corrected",
        "trained_prefix+a2c2": "training-time Real-Time Chunking, and every action is corrected",
        "foresee_learned+realtime": "the policy is asked for the predicted state, with Real-Time Chunking",
    }
)
ESTIMATOR_TEXTS: Mapping[str, str] = MappingProxyType(
    {"q80": "the 80 % quantile of the last ten delays", "max10": "the longest of the last ten delays"}
)
