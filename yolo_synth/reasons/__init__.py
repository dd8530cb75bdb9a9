"""Why a detector that is good on synthetic pictures is bad on real ones: one file a reason."""
