"""Names a Horovod wheel after everything that affects it.

pip keeps a wheel that it built under the name of the sdist only, and would silently install one
that was built for another TensorFlow. Ours is used again only if every ingredient is the same.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from hvd_imgcls.horovod_build.patching import REMOVED_LIST, patch_files
from hvd_imgcls.horovod_build.sdist import SDIST_SHA256, VERSION
from hvd_imgcls.horovod_build.target import Target
from hvd_imgcls.horovod_build.toolchain import Toolchain

BUILD_REQUIREMENTS_PATH = Path(__file__).with_name("build-requirements.txt")
CUDA_BUILD_REQUIREMENTS_PATH = Path(__file__).with_name("build-requirements-cuda.txt")


def build_requirements(toolchain: Toolchain) -> list[Path]:
    """Returns the lists of the distributions that are installed to build the wheel."""
    return [BUILD_REQUIREMENTS_PATH, *([CUDA_BUILD_REQUIREMENTS_PATH] if toolchain.cuda else [])]


def key_ingredients(target: Target, toolchain: Toolchain) -> dict[str, str]:
    """Returns everything that affects the wheel, by readable names."""
    return {
        "horovod": VERSION,
        "sdist_sha256": SDIST_SHA256,
        "patches_sha256": hash_files([*patch_files(), REMOVED_LIST]),
        "build_requirements_sha256": hash_files(build_requirements(toolchain)),
        "tensorflow": str(target.distributions["tensorflow"]),
        "tensorflow_flags": " ".join(target.tensorflow_flags),
        "python": target.abi,
        "platform": target.platform,
        "libc": target.libc,
        "compiler": toolchain.compiler_version,
        "architecture_flags": " ".join(toolchain.architecture_flags),
        "build_variables": json.dumps(dict(toolchain.build_variables), sort_keys=True),
        "mpi": toolchain.mpi_version,
        "cuda": toolchain.cuda.versions if toolchain.cuda else "",
    }


def cache_key(ingredients: dict[str, str]) -> str:
    """Returns the name of the directory for a wheel with these ingredients.

    >>> cache_key({"tensorflow": "2.21.0", "python": "cpython-311-x86_64-linux-gnu"})
    'tf2.21.0-cpython-311-x86_64-linux-gnu-9fc92c5bd1e04c36'
    """
    text = json.dumps(ingredients, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"tf{ingredients['tensorflow']}-{ingredients['python']}-{digest}"


def hash_files(paths: list[Path]) -> str:
    """Returns one SHA-256 of the names and contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
