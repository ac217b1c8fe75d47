"""Run another commit and this checkout side by side on the example clips, and compare all that they write.

    python tools/compare_outputs.py REVISION

Every command and format is run with `tiny`; standard output, messages, exit codes and files are compared byte
for byte. What tells the time it took, the folder it ran in, or the version is replaced first.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLES = ("json", "jsonl", "csv", "tsv", "parquet")
EVENT_FORMATS = ("audacity", "raven", "dcase", "rttm", "vtt", "srt")
ONE = "sounds/speech-then-music-then-siren.ogg"
SPED = re.compile(r"\d[\d:.,]* ?(?:ms|s|min|h)\b|[\d.,]+ ?× realtime|\d+ %".encode())

# Each line is a shell command in a folder that holds `sounds/`, `odd/` and `data/`; later ones read what
# earlier ones wrote.
COMMANDS = [
    *(f"ast-tag sounds -m tiny -f {form} -o all.{form}" for form in TABLES),
    "ast-tag sounds -m tiny",
    "ast-tag sounds -m tiny -f table -k 0 --threshold 0.2",
    f"ast-tag {ONE} -m tiny --timeline --hop 2 -o timeline.csv",
    f"ast-tag {ONE} -m tiny --timeline --hop 2 --events -o timeline.json",
    *(f"ast-tag {ONE} -m tiny --hop 2 -f {form} -o one.{form}" for form in EVENT_FORMATS),
    *(f"ast-tag sounds -m tiny --hop 2 -f {form} -o tree-{form}/" for form in ("raven", "json", "srt")),
    "ast-tag sounds odd -m tiny --hop 2 --timeline --keep-scores --events -o run.jsonl",
    "ast-tag sounds odd -m tiny -f json",
    "ast-tag sounds -m tiny --include 'Animal/**' --exclude Dog --rollup -f csv",
    "ast-tag sounds -m tiny --aggregate max --short crop --channel 1 --scores logits -f tsv",
    "ast-tag sounds -m tiny -m tiny -k 2 -f tsv",
    "ast-tag sounds -m tiny --dtype bfloat16 -k 1 -f tsv --batch-size 1",
    "ast-tag sounds -m tiny --engine openvino -k 2 -f tsv",
    f"cat {ONE} | ast-tag - -m tiny --hop 5 --timeline",
    "find sounds -name '*.ogg' -print0 | sort -z | ast-tag --files-from - -0 -m tiny -k 1",
    "ast-tag sounds -m tiny -f csv -o all.csv",
    "ast-tag sounds -m tiny -f csv -o all.csv --resume",
    *(
        f"ast-tag export run.jsonl -f {form} -o again.{form} --threshold 0.3"
        for form in ("json", "jsonl", "csv", "parquet", "dcase", "rttm")
    ),
    "ast-tag export run.jsonl -f raven -o again-raven/",
    "ast-tag export run.jsonl -k 0 --timeline -f csv",
    "ast-tag clips run.jsonl --label Speech --threshold 0.5 --margin 1 -o cuts/",
    "ast-tag report run.jsonl -o report.html",
    "ast-tag embed sounds -m tiny -o all.npz",
    "ast-tag embed sounds -m tiny --per window --hop 5 -o windows.parquet",
    "ast-tag embed sounds -m tiny --no-normalize --noise-masking 10 -o masked.npy",
    "ast-tag search sounds/birds.ogg --in all.npz --top-k 3 -m tiny",
    "ast-tag search sounds/birds.ogg --in all.npz -f json -o hits.json -m tiny",
    "ast-tag search --near-duplicates --in all.npz --threshold 0.5 -o pairs.csv",
    "ast-tag explain sounds/birds.ogg -m tiny --label Bird -o why.npz --method gradient",
    "ast-tag explain sounds/birds.ogg -m tiny --label Bird -o why.html --method rollout",
    "ast-tag explain sounds/birds.ogg -m tiny --at 1 -k 2 --method gradient --json",
    "ast-tag labels siren",
    "ast-tag labels",
    "ast-tag models",
    "ast-tag stats data -m tiny",
    "ast-tag finetune data -m tiny -o mine --epochs 1 --batch-size 4 --seed 1",
    "ast-tag eval data -m mine",
    "ast-tag eval data -m mine -o classes.csv",
    "ast-tag eval data -m mine --calibrate mine.csv --save-scores scores.npz --out eval.json",
    "ast-tag sounds -m mine --threshold mine.csv -k 0",
    f"sox -D {ONE} -t wav - | ast-tag listen -m tiny",
    f"sox -D {ONE} -t raw -r 16000 -c 1 -e signed -b 16 - | ast-tag listen -m tiny --rate 16000",
    "ast-tag verify sounds/birds.ogg --against transformers -m tiny",
    # What goes wrong.
    "ast-tag nothing.wav -m tiny",
    "ast-tag odd -m tiny",
    "ast-tag odd -m tiny --fail-fast -f csv",
    "ast-tag sounds -m no/such-model --offline",
    "ast-tag sounds -m tiny -o all.csv",
    "ast-tag sounds -m tiny -f raven",
    "ast-tag sounds -m tiny --threshold 50",
    "ast-tag sounds -m tiny --channel 9 -k 1",
    "ast-tag sounds -m tiny --window 60",
    "ast-tag sounds -m tiny --include Dogg",
    "ast-tag export all.csv -f json",
    "ast-tag search sounds/birds.ogg --in all.csv",
    "ast-tag explain odd/empty.wav -m tiny",
    "ast-tag finetune sounds -m tiny -o all.csv",
]


def prepare(folder: Path) -> None:
    """The recordings: the example clips, odd files, and two classes to learn."""
    import numpy as np
    import soundfile

    apart = shutil.ignore_patterns("*.py", "*.csv")
    shutil.copytree(ROOT / "examples" / "clips", folder / "sounds", ignore=apart)
    (folder / "odd").mkdir()
    noise = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    (folder / "odd" / "empty.wav").write_bytes(b"")
    (folder / "odd" / "text.wav").write_text("This is no recording.")
    soundfile.write(folder / "odd" / "=1+1, \x1b[2J\u202e.wav", noise, 8_000)
    soundfile.write(folder / "odd" / "short.wav", noise[:100], 16_000)
    soundfile.write(folder / "odd" / "cut.wav", noise, 16_000)
    whole = (folder / "odd" / "cut.wav").read_bytes()
    (folder / "odd" / "cut.wav").write_bytes(whole[: len(whole) // 2])
    for number in range(6):
        for name, wave in (("sine", np.sin), ("square", lambda x: np.sign(np.sin(x)))):
            (folder / "data" / name).mkdir(parents=True, exist_ok=True)
            tone = 0.3 * wave(2 * np.pi * 220 * (number + 1) * np.arange(8_000) / 16_000)
            soundfile.write(folder / "data" / name / f"{number}.wav", tone, 16_000)


def run(command: str, source: Path, folder: Path, cache: Path) -> dict[str, bytes]:
    """What a command prints, its exit code, and every file that it wrote or changed."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    environment = os.environ | {
        "PYTHONPATH": str(source),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TERM": "dumb",
        "OMP_NUM_THREADS": "1",
        "XDG_CACHE_HOME": str(cache),
        "HF_HOME": str(cache / "hf"),
        "HF_HUB_OFFLINE": "1",
    }
    code = "import sys; sys.argv[0] = 'ast-tag'; from ast_cli.cli.app import main; main()"
    script = f'ast-tag() {{ {sys.executable} -c "{code}" "$@"; }}; {command}'
    shell = ["bash", "-c", script]
    ran = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, check=False)
    found = {"stdout": ran.stdout, "stderr": ran.stderr, "exit code": b"%d" % ran.returncode}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and before.get(path) != path.stat().st_mtime_ns:
            found[str(path.relative_to(folder))] = path.read_bytes()
    return {name: tidied(name, text, folder) for name, text in found.items()}


def tidied(name: str, text: bytes, folder: Path) -> bytes:
    """Without what differs from one run to the next of the same program."""
    if name.endswith((".npz", ".parquet", ".png", ".wav", ".flac")):
        return text.replace(bytes(folder), b"HERE")
    text = text.replace(bytes(folder), b"HERE")
    if name in ("stderr", "stdout"):
        return SPED.sub(b"TIME", text)
    return re.sub(rb'"(seconds|time|started|ended|mtime|inode|hours|clips_per_second)": ?[\d.]+', b"", text)


def main() -> None:
    """Compare, print each difference, and fail if there is one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("revision", help="the commit to compare with")
    parser.add_argument("--only", default="", help="only commands that hold this")
    parser.add_argument("--keep", type=Path, help="a folder to leave both sides' files in")
    asked = parser.parse_args()
    work = asked.keep or Path(tempfile.mkdtemp())
    source = work / "source"
    git = ["git", "-C", ROOT, "worktree"]
    subprocess.run([*git, "add", "--force", "--detach", source, asked.revision], check=True)
    sides = {"old": source, "new": ROOT}
    different = 0
    try:
        for side in sides:
            (work / side / "here").mkdir(parents=True)
        prepare(work / "old" / "here")
        shutil.rmtree(work / "new" / "here")
        shutil.copytree(work / "old" / "here", work / "new" / "here", copy_function=shutil.copy2)
        for command in COMMANDS:
            if asked.only not in command:
                continue
            old, new = (run(command, sides[side], work / side / "here", work / "cache") for side in sides)
            apart = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
            different += bool(apart)
            print(f"{'DIFFERS' if apart else 'same'}\t{command}\t{', '.join(old)}", flush=True)
            for name in apart:
                for side, text in (("old", old.get(name)), ("new", new.get(name))):
                    print(f"  {side} {name}: {(text or b'absent')[-600:]!r}")
    finally:
        subprocess.run([*git, "remove", "--force", source], check=True)
        if not asked.keep:
            shutil.rmtree(work)
    print(f"{different} of the commands differ")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
