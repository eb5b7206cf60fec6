"""Which variables of the launcher's environment the ranks on other hosts get.

Ranks on the launcher's own host inherit its environment. To other hosts goes only what ranks need,
and never what looks like a secret, unless it is named with `--pass-env`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hvd_imgcls.errors import ConfigError

# Names, or the beginning of names if they end with _.
PASSED = (
    "CUDA_",
    "CURL_CA_BUNDLE",
    "GLOO_",
    "HOROVOD_",
    "HVD_IMGCLS_",
    "KERAS_",
    "KMP_",
    "LANG",
    "LANGUAGE",
    "LC_",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "MALLOC_",
    "MKL_",
    "NCCL_",
    "NVIDIA_",
    "OMP_",
    "ONEDNN_",
    "OPENBLAS_",
    "PATH",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONFAULTHANDLER",
    "PYTHONHASHSEED",
    "PYTHONHOME",
    "PYTHONOPTIMIZE",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
    "PYTHONUTF8",
    "PYTHONWARNINGS",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TF_",
    "TFDS_DATA_DIR",
    "TZ",
    "VIRTUAL_ENV",
    "XDG_CACHE_HOME",
    "XLA_",
)
_SECRET = re.compile(r"SECRET|TOKEN|PASSW|CREDENTIAL|PRIVATE|API_?KEY|ACCESS_?KEY|_KEY$", re.I)
# Of the host or of an outer job, not of this one.
_NOT_PASSED = re.compile(
    r".*CUDA_VISIBLE_DEVICES$|HOROVOD_(RANK|SIZE|HOSTNAME|(LOCAL|CROSS)_(RANK|SIZE))$"
    r"|HOROVOD_GLOO_RENDEZVOUS_(ADDR|PORT)$"
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def for_other_hosts(environment: Mapping[str, str], named: Sequence[str] = ()) -> dict[str, str]:
    """Returns the variables that ranks on other hosts get.

    Args:
        environment: The launcher's variables.
        named: Names that the user wants to pass, whatever they look like.

    Raises:
        ConfigError: If a name is not set.
    """
    for name in named:
        if not _VARIABLE.fullmatch(name) or name not in environment:
            raise ConfigError(
                "--pass-env",
                got=name,
                expected="the name of a variable that is set",
                fix=f"set it before: export {name}=...",
            )
    return {
        name: value
        for name, value in environment.items()
        if name in named or (_is_needed(name) and not _SECRET.search(name))
    }


def _is_needed(name: str) -> bool:
    if _NOT_PASSED.fullmatch(name):
        return False
    return any(name == known or (known[-1] == "_" and name.startswith(known)) for known in PASSED)
