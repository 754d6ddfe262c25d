"""Training: the only floor where a gradient is taken and an optimizer steps.

recipe.py       what a system says of its training: groups of parameters, and the losses of a step
schedule.py     learning rates, and when a loss has stopped falling
optimizer.py    what moves parameters, and AdamW
muon.py         Muon, for hidden weights
shares.py       a batch in parts, each a thread's
averages.py     the exponential moving average of the weights
loop.py         one training: step, look, fall back, go on from any state
checkpoint.py   that state as a file
hooks.py        what is written while it runs: lines of JSON, events for TensorBoard, the checkpoint
events.py       TensorBoard's file format
"""
