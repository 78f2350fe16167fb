"""The hook under the real Trainer, with a text and an image model made from a config, on real sentences and images."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.signal
import scipy.special
import scipy.stats
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import IterableDataset

from thresher import Recorder, Trajectory, TrajectoryWriter
from thresher.data import Indexed
from thresher.errors import InputError, MissingSamplesError, SampleIdError
from thresher.scorers import AUM, EL2N, TDDS, Entropy, MeanProb

pytest.importorskip("accelerate", reason="needs the package accelerate: pip install 'thresher[accelerate]'")
transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'thresher[transformers]'")

from thresher.integrations.transformers import attach  # noqa: E402

N = 200
DIGITS = load_digits()
IMAGES = [
    {"pixel_values": (image[None] / 16).astype(np.float32), "labels": int(target)}
    for image, target in zip(DIGITS.images[:N], DIGITS.target[:N], strict=True)
]


def sentences() -> list[tuple[str, int]]:
    """First sentences of docstrings that ship with NumPy (0) and SciPy (1)."""
    found = []
    for label, modules in enumerate(((np, np.linalg, np.fft), (scipy.special, scipy.stats, scipy.signal))):
        docs = [getattr(module, name).__doc__ for module in modules for name in dir(module) if name[0] != "_"]
        texts = [inspect.cleandoc(doc).split("\n\n") for doc in docs if isinstance(doc, str)]
        parts = {" ".join(part.split()) for text in texts for part in text}
        lines = sorted(part for part in parts if part[:1].isupper() and part.endswith(".") and 5 <= len(part.split()) <= 20)
        found += [(line, label) for line in lines[:: max(1, len(lines) // 150)][:150]]
    return found


def image_model(drop_path: float = 0.0) -> Any:
    config = transformers.ConvNextConfig(
        num_channels=1, patch_size=2, num_stages=2, hidden_sizes=[8, 16], depths=[1, 1], num_labels=10,
        drop_path_rate=drop_path,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.ConvNextForImageClassification(config)


def trainer_of(recorder: Recorder, folder: Path, model: Any = None, dataset: Any = None, **options: Any) -> Any:
    names = {key: options.pop(key) for key in ("sample_ids", "targets") if key in options}
    kinds = {key: options.pop(key) for key in ("data_collator", "eval_dataset") if key in options}
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), use_cpu=True, report_to=[], disable_tqdm=True, seed=0,
        **{"num_train_epochs": 4, "per_device_train_batch_size": 32, "learning_rate": 0.01, "lr_scheduler_type": "constant",
           "save_strategy": "epoch", "logging_strategy": "no", "dataloader_pin_memory": False, **options},
    )  # fmt: skip
    dataset = Indexed(IMAGES) if dataset is None else dataset
    trainer = transformers.Trainer(model or image_model(), arguments, train_dataset=dataset, **kinds)
    attach(trainer, recorder, **names)
    return trainer


def new_recorder(**options: Any) -> Recorder:
    return Recorder(N, 10, scorers={"aum": AUM(), "tdds": TDDS(window=3)}, **options)


def same_scores(one: Recorder, other: Recorder) -> None:
    assert one.epoch == other.epoch == 4
    for name, scores in one.scores().items():
        np.testing.assert_array_equal(scores.values, other.scores()[name].values)


def test_each_sample_gets_its_own_logits(tmp_path: Path) -> None:
    """With a step size of zero, what is recorded from shuffled batches is the model's answer to each image."""
    recorder, model = Recorder(N, 10, scorers={"el2n": EL2N()}), image_model()
    trainer_of(recorder, tmp_path, model, learning_rate=0.0, num_train_epochs=2).train()
    with torch.no_grad():
        logits = model(torch.tensor(np.stack([item["pixel_values"] for item in IMAGES]))).logits
    labels = torch.tensor([item["labels"] for item in IMAGES])
    expected = (logits.softmax(1) - nn.functional.one_hot(labels, 10)).norm(dim=1)
    np.testing.assert_allclose(recorder.scores()["el2n"].values, expected.numpy(), rtol=1e-5)
    assert expected.std() > 0.001  # else a mix-up would not show


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recorder, Path]:
    """A recording in one go, of 7 steps an epoch, with a checkpoint every fourth step, and one that saves by epochs."""
    folder = tmp_path_factory.mktemp("whole")
    recorder = new_recorder()
    trainer_of(recorder, folder, image_model(0.1), save_strategy="steps", save_steps=4).train()
    return recorder, folder


@pytest.mark.parametrize("step", [4, 12, 20])
def test_a_resumed_training_has_no_holes(whole: tuple[Recorder, Path], tmp_path: Path, step: int) -> None:
    """Also amid an epoch: the Trainer goes on with the batch that it had come to."""
    again = new_recorder()
    trainer = trainer_of(again, tmp_path, image_model(0.1), save_strategy="steps", save_steps=4)
    trainer.train(resume_from_checkpoint=str(whole[1] / f"checkpoint-{step}"))
    same_scores(whole[0], again)


def test_a_checkpoint_of_an_epochs_last_step_holds_the_epoch(whole: tuple[Recorder, Path], tmp_path: Path) -> None:
    """It is written before the Trainer ends the epoch; the store that ran ahead is cut back."""
    place = tmp_path / "store"
    with TrajectoryWriter.create(place, N, 10, ["loss"]) as store:
        options = {"save_strategy": "steps", "save_steps": 7}
        trainer_of(new_recorder(store=store), tmp_path / "a", image_model(0.1), **options, max_steps=16).train()
        assert store.epochs == 2  # the third was broken off
    with TrajectoryWriter.resume(place) as store:
        again = new_recorder(store=store)
        trainer_of(again, tmp_path / "a", image_model(0.1), **options, eval_dataset=IMAGES[:20]).train(True)
        same_scores(whole[0], again)
    assert [len(frame.ids) for frame in Trajectory.open(place).frames(["loss"])] == [N] * 4


def test_text_with_a_column_of_ids_that_the_user_names(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    lines = sentences()
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = trainers.WordLevelTrainer(special_tokens=["[PAD]", "[UNK]"])
    tokenizer.train_from_iterator([line.lower() for line, _ in lines], special)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    rows = [{**fast(line.lower()), "label": label, "row": row, "text": line} for row, (line, label) in enumerate(lines)]
    config = transformers.BertConfig(
        vocab_size=len(fast), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        num_labels=2, pad_token_id=fast.pad_token_id,
    )  # fmt: skip
    recorder = Recorder(len(rows), 2, scorers={"prob": MeanProb(), "tdds": TDDS(window=3)})
    torch.manual_seed(0)
    trainer_of(
        recorder, tmp_path, transformers.BertForSequenceClassification(config), rows[::-1], sample_ids="row",
        data_collator=transformers.DataCollatorWithPadding(fast), num_train_epochs=5, label_smoothing_factor=0.1,
        gradient_accumulation_steps=2, eval_strategy="epoch", eval_dataset=rows[:10], save_strategy="no",
    ).train()  # fmt: skip
    assert recorder.epoch == 5
    assert recorder.pool().targets is not None
    assert recorder.pool().targets.tolist() == [label for _, label in lines]
    assert np.mean(recorder.scores()["prob"].values) > 0.6  # two libraries do not write alike, and this was learned
    assert len(rows) == 300


def test_a_hugging_face_dataset(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the package datasets")
    table = datasets.Dataset.from_list([{**item, "row": row} for row, item in enumerate(IMAGES)]).with_format("torch")
    named, wrapped = new_recorder(), new_recorder()
    trainer_of(named, tmp_path / "named", dataset=table, sample_ids="row").train()
    trainer_of(wrapped, tmp_path / "wrapped", dataset=Indexed(table.remove_columns("row"))).train()
    same_scores(named, wrapped)


class Mixed(torch.utils.data.Dataset[Any]):
    """Its ids no longer belong to its samples: every pass over it numbers them anew."""

    def __init__(self) -> None:
        self.reads = 0

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        order = np.random.default_rng(self.reads // N).permutation(N)
        self.reads += 1
        return {**IMAGES[index], "sample_id": int(order[index])}


def test_shuffled_ids_are_noticed_and_not_scored(tmp_path: Path) -> None:
    recorder = new_recorder()
    with pytest.raises(InputError, match="Ids and samples are mixed up"):
        trainer_of(recorder, tmp_path, dataset=Mixed()).train()
    assert recorder.epoch == 1


def test_lost_ids_and_samples_are_noticed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sample ids at 'sample_id', but got one with the columns \[.*Indexed"):
        trainer_of(new_recorder(), tmp_path, dataset=IMAGES).train()
    with pytest.raises(MissingSamplesError, match="Expected all 200 samples in epoch 0, but 8 are missing"):
        trainer_of(new_recorder(), tmp_path, dataloader_drop_last=True).train()


def test_a_training_without_its_recording_is_refused(whole: tuple[Recorder, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="in epoch 0, but the Recorder has 4 epochs"):
        trainer_of(whole[0], tmp_path / "b").train()
    bare = transformers.Trainer(image_model(), trainer_of(new_recorder(), tmp_path, max_steps=7).args, train_dataset=IMAGES)
    bare.train()
    assert not (tmp_path / "checkpoint-7" / "recorder.safetensors").exists()
    with pytest.raises(InputError, match=r"resumes after 7 steps, but the Recorder is empty\. Resume from a checkpoint"):
        trainer_of(new_recorder(), tmp_path, max_steps=14).train(resume_from_checkpoint=True)


def test_a_training_does_not_begin_with_rows_of_one_that_was_broken_off(tmp_path: Path) -> None:
    """With `duplicates="first"`, as on several processes, they would be taken for its own."""
    recorder = new_recorder(duplicates="first")
    trainer_of(recorder, tmp_path, max_steps=3).train()
    with pytest.raises(InputError, match="holds a part of epoch 0, from a training that was interrupted"):
        trainer_of(recorder, tmp_path).train()


def test_an_epoch_that_is_started_anew_is_refused(whole: tuple[Recorder, Path], tmp_path: Path) -> None:
    with pytest.raises(SampleIdError, match="seen twice in epoch 1"):
        trainer_of(new_recorder(), tmp_path, ignore_data_skip=True).train(str(whole[1] / "checkpoint-12"))


class Hungry(nn.Module):
    """Runs out of memory once, at its `at`-th batch."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.net, self.at, self.calls = nn.Linear(64, 10), at, 0

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> Any:
        self.calls += 1
        if self.calls == self.at:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        logits = self.net(pixel_values.flatten(1))
        return transformers.utils.ModelOutput(loss=nn.functional.cross_entropy(logits, labels), logits=logits)


@pytest.mark.parametrize("at", [1, 3, 10], ids=["at once", "amid the first epoch", "in the second epoch"])
def test_a_loop_that_starts_anew_with_smaller_batches_is_recorded_anew(tmp_path: Path, at: int) -> None:
    with TrajectoryWriter.create(tmp_path / "store", N, 10, ["loss"]) as store:
        recorder = Recorder(N, 10, scorers={"el2n": EL2N()}, store=store)
        options = {"auto_find_batch_size": True, "num_train_epochs": 3, "save_strategy": "no"}
        trainer = trainer_of(recorder, tmp_path, Hungry(at), **options)
        trainer.train()
        assert trainer._train_batch_size < 32
        assert (recorder.epoch, store.epochs) == (3, 3)
        assert recorder._states["el2n"]["count"].tolist() == [3] * N


class Own(nn.Module):
    """A model of the user's own, which takes what it knows and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(64, 10)

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        logits = self.net(pixel_values.flatten(1))
        loss = {} if labels is None else {"loss": nn.functional.cross_entropy(logits, labels)}
        return {**loss, "logits": logits}


def test_a_model_of_ones_own_never_sees_the_ids(tmp_path: Path) -> None:
    """Nor where there are no labels, so that the Trainer computes no loss."""
    recorder = Recorder(N, 10, scorers={"el2n": EL2N()})
    trainer = trainer_of(recorder, tmp_path, Own(), learning_rate=0.0, num_train_epochs=1)
    trainer.train()
    unlabelled = Indexed([{"pixel_values": item["pixel_values"]} for item in IMAGES])
    logits = torch.tensor(trainer.predict(unlabelled).predictions)
    errors = logits.softmax(1) - nn.functional.one_hot(torch.tensor([item["labels"] for item in IMAGES]), 10)
    np.testing.assert_allclose(recorder.scores()["el2n"].values, errors.norm(dim=1).numpy(), rtol=1e-5)


class Answer(NamedTuple):
    loss: torch.Tensor
    logits: torch.Tensor


class Named(Own):
    """Its output has logits, but is no mapping."""

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> Answer:
        return Answer(**super().forward(pixel_values, labels))


def test_an_output_may_be_a_named_tuple(tmp_path: Path) -> None:
    one, other = new_recorder(), new_recorder()
    trainer_of(one, tmp_path / "a", Own()).train()
    trainer_of(other, tmp_path / "b", Named()).train()
    same_scores(one, other)


class Evaluation(transformers.TrainerCallback):  # type: ignore[name-defined,misc]
    """A pass over the training set: in time for the epoch's commit, or after it."""

    def __init__(self, recorder: Recorder, late: bool) -> None:
        self.recorder, self.late, self.logits = recorder, late, torch.empty(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if float(state.epoch).is_integer() and not self.late:
            self.look(rest["model"])

    def on_epoch_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if self.late:
            self.look(rest["model"])

    def look(self, model: Any) -> None:
        with torch.no_grad():
            self.logits = model(torch.tensor(np.stack([item["pixel_values"] for item in IMAGES])))["logits"]
        self.recorder.update_eval(self.logits, [item["labels"] for item in IMAGES], torch.arange(N))


def test_an_evaluation_pass_comes_before_the_epoch_is_committed(tmp_path: Path) -> None:
    for late in (False, True):
        recorder = Recorder(N, 10, scorers={"entropy": Entropy()})
        arguments = trainer_of(new_recorder(), tmp_path, num_train_epochs=2, save_strategy="no").args
        evaluation = Evaluation(recorder, late)
        trainer = transformers.Trainer(Own(), arguments, train_dataset=Indexed(IMAGES), callbacks=[evaluation])
        attach(trainer, recorder)
        with pytest.warns(UserWarning, match="pass came after epoch 1 was committed") if late else nullcontext():
            trainer.train()
        probabilities = evaluation.logits.softmax(1)
        expected = -(probabilities * (probabilities + 1e-10).log()).sum(1).numpy()
        assert late != np.allclose(recorder.scores()["entropy"].values, expected, rtol=1e-5)


def test_a_trainer_has_one_recorder(tmp_path: Path) -> None:
    trainer = trainer_of(new_recorder(), tmp_path)
    with pytest.raises(InputError, match=r"has a Recorder already.*create a new Trainer and a new Recorder"):
        attach(trainer, new_recorder())


class Shorter(torch.utils.data.Sampler[int]):
    """Shows everything first, then half of it."""

    def __init__(self) -> None:
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return N // (1 + min(self.epoch, 1))

    def __iter__(self) -> Any:
        return iter(range(len(self)))


def test_an_epoch_that_is_shorter_than_the_first_is_refused(tmp_path: Path) -> None:
    """The Trainer counts the batches of an epoch once."""
    recorder = new_recorder(missing="allow")
    trainer = trainer_of(recorder, tmp_path)
    sampler = Shorter()
    trainer._get_train_sampler = lambda *arguments: sampler
    with pytest.raises(InputError, match=r"Epoch 1 ended after 57% of the batches.*Give all epochs the same number"):
        trainer.train()
    assert recorder.epoch == 1


def test_a_model_without_logits_is_refused(tmp_path: Path) -> None:
    class Tuples(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(64, 10)

        def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> Any:
            logits = self.net(pixel_values.flatten(1))
            return nn.functional.cross_entropy(logits, labels), logits

    with pytest.raises(InputError, match="whose output has logits, but Tuples returned a tuple"):
        trainer_of(new_recorder(), tmp_path, Tuples()).train()


class Bare(transformers.Trainer):  # type: ignore[name-defined,misc]
    """Its `compute_loss` looks at no `return_outputs`."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **rest: Any) -> Any:
        return model(**inputs).loss


def test_a_loss_without_outputs_is_told_what_to_return(tmp_path: Path) -> None:
    arguments = trainer_of(new_recorder(), tmp_path, max_steps=1).args
    trainer = Bare(image_model(), arguments, train_dataset=Indexed(IMAGES))
    attach(trainer, new_recorder())
    with pytest.raises(InputError, match=r"got a Tensor\. End it with: return \(loss, outputs\)"):
        trainer.train()


class Stream(IterableDataset[Any]):
    """Rows with ids of their own, in the order of the data."""

    def __iter__(self) -> Any:
        return ({**row, "sample_id": position} for position, row in enumerate(IMAGES))


class Counted(Stream):
    """A stream that says how long it is."""

    def __len__(self) -> int:
        return N


def test_a_stream_must_say_how_long_it_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got a stream.*Give its class a __len__"):
        trainer_of(new_recorder(), tmp_path, dataset=Stream(), max_steps=14).train()
    recorder = new_recorder()
    trainer_of(recorder, tmp_path, dataset=Counted(), num_train_epochs=2).train()
    assert recorder.epoch == 2


def test_swapped_arguments_are_refused(tmp_path: Path) -> None:
    trainer = trainer_of(new_recorder(), tmp_path)
    with pytest.raises(InputError, match=r"Expected a transformers\.Trainer, but got Recorder.*attach\(trainer, rec"):
        attach(new_recorder(), trainer)
    with pytest.raises(InputError, match=r"Expected a thresher\.Recorder"):
        attach(trainer, trainer)
