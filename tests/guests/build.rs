//! Passes the linker script to the freestanding kernel.

fn main() {
    println!("cargo::rerun-if-changed=guest.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        for argument in [&format!("-T{dir}/guest.ld"), "--no-pie", "-zmax-page-size=4096"] {
            println!("cargo::rustc-link-arg-bin=guest={argument}");
        }
    }
}
