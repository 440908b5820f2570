#!/bin/sh
# Builds the root kernel from Debian's unmodified source. Runs inside the toolbox, as root or as a user
# who looks like it; /work holds linux-source.tar.xz and kernel.config, and receives the results.
set -eu
cd /work
mkdir -p src build result/modules result/headers
echo "unpacking the source"
tar -xf linux-source.tar.xz -C src --strip-components=1 --no-same-owner

# The same sources give the same kernel, whoever builds it.
export KBUILD_BUILD_USER=zemin KBUILD_BUILD_HOST=zemin KBUILD_BUILD_VERSION=1
KBUILD_BUILD_TIMESTAMP=$(stat -c %y src/Makefile)
export KBUILD_BUILD_TIMESTAMP
build() { make -C src O=/work/build "$@"; }

build tinyconfig
cat kernel.config >> build/.config
build olddefconfig
lost=$(grep -E '^CONFIG_' kernel.config | grep -vxFf build/.config || true)
if [ -n "$lost" ]; then
    echo "this kernel version does not take these options of kernel.config:" "$lost" >&2
    exit 1
fi

build -j"$(nproc)" bzImage modules
build INSTALL_MOD_PATH=/work/result/modules INSTALL_MOD_STRIP=1 modules_install
rm -f result/modules/lib/modules/*/build
# What modules from outside the tree are built against.
build run-command KBUILD_RUN_COMMAND='${srctree}/scripts/package/install-extmod-build /work/result/headers'
cp build/.config result/headers/.config
cp build/.config result/config
cp build/System.map result/System.map
cp build/arch/x86/boot/bzImage result/vmlinuz
cp build/include/config/kernel.release result/release
