"""The options that several commands share: their types and what `--help` says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[str, typer.Option(help="Data set: digits (built in), cifar10, cifar100, or folder (ImageNet layout).")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where the data lies: the official CIFAR archive or its unpacked folder; the root of folders."),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Small: tiny, small. For 32x32: resnet18, resnet34, resnet50, resnet101, vgg16, mobilenet_v2, shufflenet_v2 "
        "(also _x0_5, _x1_5, _x2_0), shufflenet_g2, shufflenet_g3. For 224x224: resnet34_imagenet, resnet50_imagenet, "
        "swin_t. Or timm:NAME. Default: fits the data set."
    ),
]
Corrupt = Annotated[
    str | None,
    typer.Option(help="Corrupt training images: intended or published-code, then :share=0.04:seed=0 and strengths."),
]
Mislabel = Annotated[
    str | None, typer.Option(help="Give this share of the training samples a wrong label: 0.2 or 0.2:seed=0.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto (cuda where there is one).")]
Precision = Annotated[str, typer.Option(help="fp32 or bf16 (autocast; weights stay fp32).")]
Epochs = Annotated[int | None, typer.Option(help="Epochs to train. Default: the data set's recipe (CIFAR: 200).")]
BatchSize = Annotated[int | None, typer.Option(help="Samples a step. Default: the recipe's (100 surrogate, 128 coreset).")]
Lr = Annotated[float | None, typer.Option(help="Peak learning rate. Default: the recipe's (0.1).")]
Compile = Annotated[bool, typer.Option("--compile", help="Run the model through torch.compile.")]
