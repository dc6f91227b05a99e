"""Dovecot's packages on a machine made anew at a newer version, in a folder that apt can take from.

They are Debian's own, downloaded by the machine, with another version and, when that is wanted,
another ABI of plugins: both in what the packages say of themselves and in every program, library
and plugin that compares it.
"""

from __future__ import annotations

from tests.lab.machine import Machine

MINUTES = 300.0
ABIS = {"bookworm": ("2.3.ABIv19", "2.3.ABIv20"), "trixie": ("2.4.ABIv1", "2.4.ABIv2")}
"""Of a suite's Dovecot: the ABI it has, and one as long that it has not."""

ENTRY = "/etc/apt/sources.list.d/newer.list"
ALONE = f"-o Dir::Etc::sourcelist={ENTRY} -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0"
"""Options for apt to see no other newer packages than these."""

MAKE = r"""
set -eu
suffix=$1 old=$2 new=$3 folder=$4
mkdir -p "$folder"
cd "$folder"
names=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'dovecot-*' \
    | sed -n '/instant/d;s/^installed //p')
apt-get download $names >/dev/null
version=$(dpkg-query -W -f '${Version}' dovecot-core)
old_name=dovecot-abi-$(echo "$old" | tr A-Z a-z)
new_name=dovecot-abi-$(echo "$new" | tr A-Z a-z)
for deb in *.deb; do
    dpkg-deb -R "$deb" tree
    rm "$deb"
    name=$(sed -n 's/^Package: //p' tree/DEBIAN/control).deb
    sed -i -e "s/$version/$version$suffix/g" -e "s/$old_name\b/$new_name/g" tree/DEBIAN/control
    if [ "$old" != "$new" ]; then
        grep -rlaF "$old" tree | xargs -r sed -i "s/$old/$new/g"
    fi
    dpkg-deb -Zgzip -z1 -b tree "$name" >/dev/null
    rm -r tree
    dpkg-deb -f "$name"
    echo "Filename: ./$name"
    echo "Size: $(stat -c %s "$name")"
    echo "SHA256: $(sha256sum "$name" | cut -d ' ' -f 1)"
    echo
done >Packages
"""


def make(machine: Machine, suffix: str, *, other_abi: bool) -> str:
    """Make the packages, whose version gets the suffix; the folder they are in."""
    old, new = ABIS[machine.suite]
    folder = f"/srv/newer{suffix}"
    words = [suffix, old, new if other_abi else old, folder]
    machine.run(["sh", "-c", MAKE, "sh", *words], timeout=MINUTES)
    return folder


def offer(machine: Machine, folder: str) -> None:
    """Have apt know of the packages in the folder, beside Debian's."""
    entry = f"deb [trusted=yes] file:{folder} ./\n"
    machine.write(ENTRY, entry)
    machine.run(f"apt-get {ALONE} update", timeout=MINUTES)
