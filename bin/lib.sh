# Shared by the commands in bin/, which source it: finds Python, keeps .venv in step
# with a lock, installs system packages. POSIX sh; sets root, venv and python.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
venv=$root/.venv
python=$venv/bin/python

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$@"
    exit 1
}

# is_python COMMAND [MODULE]: new enough, and has the module? A name on the PATH may be
# a shim of a version that is not installed, so it is asked.
is_python() {
    "$1" -IS -c "import sys, ${2:-sys}; sys.exit(sys.version_info < (3, 11))" 2>/dev/null
}

# The first that can make a virtual environment, else the first that is new enough.
find_python() {
    for module in ensurepip sys; do
        for name in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3 python; do
            if is_python "$name" "$module"; then
                printf '%s\n' "$name"
                return
            fi
        done
    done
    die "local-ai needs Python 3.11 or newer, and none is on the PATH. Install one (Debian" \
        "and Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.13)" \
        "or name it: PYTHON=/path/to/python3 and the same command again."
}

# prepare run|test|dev: after this, $python has what requirements/$1.txt lists.
prepare() {
    if is_python "$python"; then
        "$python" -IS "$root/bin/prepare.py" "$1"
    else
        found=$(find_python)
        "$found" -IS "$root/bin/prepare.py" "$1"
    fi
}

# system_packages test|bench: install what requirements/system.txt lists for it where
# we may; say nothing where we may not, the tests that miss it are named at their end.
system_packages() {
    missing=
    while read -r purpose program package _; do
        if [ "$purpose" = "$1" ] && ! command -v "$program" >/dev/null; then
            missing="$missing $package"
        fi
    done <"$root/requirements/system.txt"
    if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing system packages:$missing"
        # shellcheck disable=SC2086  # a list of words
        apt_install $missing || say "Could not install them; what needs them is skipped."
    fi
}

apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -qq -y --no-install-recommends "$@" >/dev/null 2>&1 </dev/null ||
        { apt-get update -qq && apt-get install -qq -y --no-install-recommends "$@"; } \
            >/dev/null </dev/null
}
