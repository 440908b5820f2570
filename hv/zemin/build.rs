//! Passes the linker script, and the identity of the build, to the freestanding binary.

fn main() {
    println!("cargo::rerun-if-changed=zemin.ld");
    println!("cargo::rerun-if-env-changed=ZEMIN_BUILD_ID");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        for argument in
            [&format!("-T{dir}/zemin.ld"), "--no-pie", "-zmax-page-size=4096", "--build-id=sha1"]
        {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
}
