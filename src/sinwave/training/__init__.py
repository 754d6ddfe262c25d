"""Training: the only floor where a gradient is taken and an optimizer steps.

recipe.py       the part that a system defines: players, networks, and the losses of a step
schedule.py     learning rates, and when a loss has stopped falling
optimizer.py    AdamW, and Muon for hidden weights
engine.py       devices, mixed precision and accumulated gradients, by accelerate or without
shares.py       a batch in parts, each a thread's
averages.py     the exponential moving average of the weights
loop.py         one training: step, look, fall back, go on from any state
checkpoint.py   that state as a file
hooks.py        writing while it runs: lines of JSON, events for TensorBoard
"""
