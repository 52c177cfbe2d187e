"""One model over many processes: the mesh, and what each of its dimensions does to the model.

Who divides what, from the innermost dimension, whose ranks are neighbours, to the outermost (Llama 3, section 3.3.2):

    tensor      matrices and, between them, the tokens of a row        context     the tokens of a row
    pipeline    layers                                                 experts     the batch, and the experts of a layer
    data        the batch, weights, gradients and optimizer (FSDP)     replicas    the batch alone

The law: loss and gradients are those of one process.
"""
