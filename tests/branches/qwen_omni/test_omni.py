"""Qwen3-Omni from fit to answer on the tiny checkpoint, on recordings made by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from made import ROWS, TASKS, WORDS, Recordings, fitted, observed, view
from safetensors.torch import load_file

from branches.qwen_omni.adapter import Blind, Lora, OmniBranch, Prompt
from branches.qwen_omni.clips import Clips
from branches.qwen_omni.config import LoraOptions
from branches.qwen_omni.directory import TINY
from branches.qwen_omni.omni import IGNORED, Omni, load
from branches.qwen_omni.predictor import OmniPredictor, Said, as_predictions
from branches.qwen_omni.prompt import Field, answer_text, parse
from branches.qwen_omni.training import add_lora, trainable_names
from harness.answers import Predictions, Status
from harness.errors import BadInput
from harness.model_directory import episodes_of
from harness.tasks import get_task

FAST = {"epochs": 1, "batch_size": 4}
FIELD = Field("timeline_action", "action", "?", ("pour water", "stir"), False)


@pytest.fixture(scope="module")
def omni() -> Omni:
    return load(TINY, "qwen_omni:prompt", "float32")


def ready(branch: OmniBranch, out: Path, **changes) -> OmniPredictor:
    found = branch.predictor(fitted(branch, out, **changes))
    assert isinstance(found, OmniPredictor)
    return found


def clips(seed: int, rows: int = 4) -> Clips:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 255, (rows, 2, 64, 64, 3)).astype(np.uint8)
    return Clips(frames, rng.normal(0, 0.1, (rows, 15_200)).astype(np.float32), 2.0)


def same(one: Predictions, other: Predictions) -> None:
    assert (one.status == other.status).all() and one.raw == other.raw


def test_one_generation_answers_the_six_tasks(tmp_path):
    predictor = ready(Prompt(), tmp_path / "a")
    answers = {task.id: predictor.predict(observed(task.id, 5)) for task in TASKS}
    assert predictor.generations == ROWS
    for task_id, rows in answers.items():
        assert len(rows) == ROWS and rows.raw == answers["timeline_action"].raw, task_id
        assert set(rows.vocabulary) >= set(WORDS[task_id])
    predictor.predict(observed("next_action", 6))
    assert predictor.generations == 2 * ROWS


@pytest.mark.parametrize("branch", [Prompt, Lora])
def test_a_row_does_not_depend_on_its_batch(branch, tmp_path):
    options = FAST if branch is Lora else {"shots": 1}
    one, many = (ready(branch({**options, "rows_at_once": n}), tmp_path / str(n)) for n in (1, 4))
    for seed in (5, 6, 7):
        same(one.predict(observed("timeline_action", seed)), many.predict(observed("timeline_action", seed)))


def test_padding_on_the_left_changes_no_answer(omni):
    """Questions of different lengths in one batch."""
    fields = (FIELD, Field("object_relevance", "objects", "?", tuple("abcdefgh"), True))
    texts = [omni.answers(f, clips(1, 1), 1)[0] for f in (fields, fields[:1])]
    short, long = (omni.prompts(f, clips(1, 1), 1) for f in (fields[:1], fields))
    gap = long["input_ids"].shape[1] - short["input_ids"].shape[1]
    assert gap > 0
    pad = omni.tokenizer.pad_token_id
    short["input_ids"] = torch.nn.functional.pad(short["input_ids"], (gap, 0), value=pad)
    short["attention_mask"] = torch.nn.functional.pad(short["attention_mask"], (gap, 0))
    both = {k: v if k == "use_audio_in_video" else torch.cat([long[k], short[k]]) for k, v in long.items()}
    with torch.no_grad():
        found = omni.model.generate(**both, max_new_tokens=40, do_sample=False, pad_token_id=pad)
    written = [omni._text(row) for row in found[:, both["input_ids"].shape[1] :].tolist()]
    assert [w[:30] for w in written] == [t[:30] for t in texts]


def test_a_window_without_camera_or_sound_is_unsupported(tmp_path):
    predictor = ready(Prompt(), tmp_path / "a")
    rows = predictor.predict(observed("timeline_action", 5, view(5, unseen=(0,), unheard=(3,))))
    assert np.flatnonzero(rows.status == Status.UNSUPPORTED).tolist() == [0, 3]
    assert rows.labels is not None and rows.raw is not None and rows.labels[0] == -1 and rows.raw[3] is None
    assert predictor.generations == ROWS - 2
    none = predictor.predict(observed("timeline_action", 5, view(5, sound=False)))
    assert set(none.status) == {Status.UNSUPPORTED}


def test_it_listens_where_train_has_sound_and_the_option_allows_it(tmp_path):
    silent = ready(Prompt(), tmp_path / "a", train=Recordings(1, 2, sound=False))
    assert not silent.listens
    deaf = ready(Prompt({"audio": False}), tmp_path / "b")
    assert not deaf.listens and not Prompt({"audio": False}).needs(TASKS[0]).tracks
    for predictor in (silent, deaf):
        assert predictor.predict(observed("timeline_action", 5, view(5, sound=False))).raw[0] is not None


def test_what_is_seen_is_what_all_six_tasks_allow():
    needs = {json.dumps([n.tracks, [f.pattern for f in n.frames]]) for n in (Prompt().needs(task) for task in TASKS)}
    assert needs == {'[["audio/*"], ["main_camera@64x64"]]'}
    assert Prompt().route(get_task("caption_grounding")) is None


def test_the_control_sees_nothing_and_is_asked_once(tmp_path):
    branch = Blind(FAST)
    assert not branch.needs(TASKS[0]).frames and not branch.needs(TASKS[0]).tracks
    predictor = ready(branch, tmp_path / "a")
    rows = predictor.predict(observed("timeline_action", 5, view(5, unseen=(0,))))
    assert predictor.generations == 1 and len(set(rows.raw or ())) == 1


def test_label_space_and_shots_come_from_train_and_say_from_where(tmp_path):
    artifact = fitted(Prompt({"shots": 2}), tmp_path / "a")
    assert artifact.fitted_on["label_space"] == ("e1", "e2") and artifact.fitted_on["shots"] == ("e1", "e2")
    assert artifact.fitted_on["pretrained"] == episodes_of(TINY)
    assert {t: set(w) for t, w in artifact.classes.items()} == {t: set(w) for t, w in WORDS.items()}
    # What it was told in words, for the gates: the options of every field, and the answers of its shots.
    assert len(artifact.prompts) == 3
    assert all(f'"{word}"' in artifact.prompts[0] for words in WORDS.values() for word in words)
    shots = load_file(tmp_path / "a" / "shots.safetensors")
    assert shots["frames"].shape == (2, 2, 64, 64, 3) and shots["sound"].shape[0] == 2
    assert "shots" not in fitted(Prompt({"shots": 0}), tmp_path / "b").fitted_on


def test_lora_is_trained_on_train_and_chosen_on_validation(tmp_path):
    artifact = fitted(Lora({**FAST, "epochs": 2}), tmp_path / "a")
    assert artifact.fitted_on["lora"] == ("e1", "e2") and artifact.fitted_on["early_stopping"] == ("e3",)
    losses = artifact.details["validation_losses"]
    assert len(losses) == 2 and artifact.details["best_epoch"] == int(np.argmin(losses)) + 1
    assert artifact.details["validation_loss"] == pytest.approx(min(losses), abs=1e-4)
    files = {path.name for path in (tmp_path / "a" / "lora").iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors"}
    about = (tmp_path / "a" / "lora" / "adapter_config.json").read_text()
    assert str(TINY) not in about and json.loads(about)["base_model_name_or_path"] is None
    assert not list((tmp_path / "a").glob("scratch-*"))


def test_the_same_seed_gives_the_same_lora_and_another_one_another(tmp_path):
    weights = []
    for i, seed in enumerate((0, 0, 1)):
        fitted(Lora(FAST), tmp_path / str(i), seed=seed)
        weights.append(load_file(tmp_path / str(i) / "lora" / "adapter_model.safetensors"))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_lora_changes_the_attention_of_the_text_path_and_nothing_else(omni):
    base = load(TINY, "qwen_omni:lora", "float32")
    model = add_lora(base.model, LoraOptions(), 0)
    prefix = "base_model.model.model.layers"
    assert trainable_names(model) == sorted(
        f"{prefix}.{layer}.self_attn.{part}_proj.lora_{matrix}.default.weight"
        for layer in range(base.model.config.text_config.num_hidden_layers)
        for part in "qkvo"
        for matrix in "AB"
    )


def test_only_answer_tokens_with_a_truth_carry_loss(omni):
    fields = (FIELD, Field("object_relevance", "objects", "?", ("cup", "bottle"), True))
    texts = [answer_text(fields, {"action": "pour water", "objects": objects}) for objects in (["cup"], ["bottle", "cup"])]
    inputs, labels = omni.lessons(fields, clips(1, 2), texts, [(), ("action",)])
    assert labels.shape == inputs["input_ids"].shape
    taught = [omni.tokenizer.decode(row[row != IGNORED]) for row in labels]
    assert taught[0] == texts[0] + "<|im_end|>"
    assert "pour" not in taught[1] and '"action":' in taught[1] and '["bottle", "cup"]' in taught[1]
    assert (inputs["input_ids"][labels != IGNORED] == labels[labels != IGNORED]).all()


def test_what_is_not_known_teaches_nothing(tmp_path):
    """A field without a truth: whatever stands in its place, the LoRA is the same."""
    lost = {"contact_prediction": tuple(range(ROWS))}
    one = fitted(Lora(FAST), tmp_path / "a", Recordings(1, 2, unknown={"next_action": (1, 2)}))
    assert one.details["windows"] == 2 * ROWS
    none = fitted(Lora(FAST), tmp_path / "b", Recordings(1, unknown={task.id: (0,) for task in TASKS}))
    assert none.details["windows"] == ROWS - 1
    predictor = ready(Prompt(), tmp_path / "c", train=Recordings(1, unknown=lost))
    assert set(predictor.predict(observed("contact_prediction", 5)).status) == {Status.UNSUPPORTED}
    assert len(predictor.fields) == len(TASKS) - 1


@pytest.mark.parametrize("branch", [Prompt, Lora])
def test_constrained_answers_are_right_ones(branch, tmp_path):
    predictor = ready(branch({**(FAST if branch is Lora else {}), "constrained": True}), tmp_path / "a")
    for task in TASKS:
        rows = predictor.predict(observed(task.id, 8))
        assert rows.ok.all() and rows.vocabulary == predictor_options(predictor, task.id)


def predictor_options(predictor: OmniPredictor, task_id: str) -> tuple[str, ...]:
    return next(f.options for f in predictor.fields if f.task == task_id)


def test_an_unknown_word_is_kept_and_a_broken_answer_keeps_its_text(tmp_path):
    texts = ['{"action": "juggle"}', '{"action": "stir"}', "pour water", '{"doing": "stir"}']
    rows = as_predictions(FIELD, [Said(*parse(text, (FIELD,)), text) for text in texts])
    assert rows.status.tolist() == ["ok", "ok", "parse_error", "schema_error"] and rows.raw == tuple(texts)
    assert rows.labels is not None and rows.vocabulary == ("pour water", "stir", "juggle")
    assert rows.labels.tolist() == [2, 1, -1, -1]


def test_a_row_that_memory_does_not_do_for_is_oom_and_the_others_go_on(tmp_path):
    predictor = ready(Prompt(), tmp_path / "a")
    huge = Clips(np.broadcast_to(np.uint8(0), (2, 2, 2**20, 2**20, 3)), np.zeros((2, 15_200), np.float32), 2.0)
    said = predictor._generate(huge, np.array([0, 1]))
    assert [row.status for row in said] == [Status.OOM, Status.OOM]
    assert predictor.predict(observed("timeline_action", 5)).raw is not None


def test_other_weights_than_those_of_the_fit_are_refused(tmp_path):
    artifact = fitted(Prompt(), tmp_path / "a")
    about = json.loads((artifact.folder / "omni.json").read_text())
    (artifact.folder / "omni.json").write_text(json.dumps(about | {"base": "0" * 16}))
    with pytest.raises(BadInput, match="fit it again"):
        Prompt().predictor(artifact)


def test_no_camera_at_all_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="no training window"):
        fitted(Prompt(), tmp_path / "a", Recordings(1, unseen=tuple(range(ROWS))))
