//! Finds out whether `qemu-img` is there to judge our images: without it those tests are reported as ignored.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(has_qemu_img)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ZEMIN_QEMU_IMG");
    println!("cargo::rerun-if-env-changed=PATH");
    // A program that is named must be there: the tests fail otherwise.
    let named = std::env::var_os("ZEMIN_QEMU_IMG").is_some();
    let path = std::env::var_os("PATH").unwrap_or_default();
    if named || std::env::split_paths(&path).any(|directory| directory.join("qemu-img").is_file()) {
        println!("cargo::rustc-cfg=has_qemu_img");
    }
}
