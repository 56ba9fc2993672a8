"""What a sweep's numbers were made with is known, from a checkout, a worktree or an installed copy."""

from pathlib import Path

from infrastructure.software import code_hash, commit_of, software_versions


def test_versions_blas_and_the_code_that_decides_numbers_are_known() -> None:
    found = software_versions()
    assert {"python", "numpy", "scipy", "numba", "blas", "platform", "cores", "rules"} <= set(found)
    assert all(isinstance(value, str) and value for value in found.values())
    assert found["blas"] != "none"


def test_the_codes_hash_follows_every_byte_and_every_name(tmp_path: Path) -> None:
    (tmp_path / "kmeans.py").write_text("k = 1\n")
    first = code_hash(tmp_path)
    (tmp_path / "notes.txt").write_text("no code")
    assert code_hash(tmp_path) == first
    (tmp_path / "kmeans.py").write_text("k = 2\n")
    changed = code_hash(tmp_path)
    (tmp_path / "kmeans.py").rename(tmp_path / "means.py")
    assert len({first, changed, code_hash(tmp_path)}) == 3


def test_the_commit_is_read_wherever_git_keeps_it(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None
    git = tmp_path / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "packed-refs").write_text("# pack-refs with: peeled\naaaa refs/heads/main\n")
    assert commit_of(tmp_path) == "aaaa"
    (git / "refs/heads/main").write_text("bbbb\n")
    assert commit_of(tmp_path) == "bbbb"
    worktree = tmp_path / "elsewhere"
    folder = git / "worktrees" / "elsewhere"
    folder.mkdir(parents=True)
    worktree.mkdir()
    (worktree / ".git").write_text(f"gitdir: {folder}\n")
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / "commondir").write_text("../..\n")
    assert commit_of(worktree) == "bbbb"
    (folder / "HEAD").write_text("cccc\n")
    assert commit_of(worktree) == "cccc"
    (git / "HEAD").write_text("ref: refs/heads/none\n")
    assert commit_of(tmp_path) is None
