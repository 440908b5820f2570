//! `pack ELF BZIMAGE`: makes a bzImage of the linked test kernel.

#[cfg(not(target_os = "none"))]
fn main() -> std::process::ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [from, to] = &arguments[..] else {
        eprintln!("usage: pack ELF BZIMAGE");
        return std::process::ExitCode::from(2);
    };
    match pack(from.as_ref(), to.as_ref()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("pack: {}: {why}", from.display());
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "none"))]
fn pack(from: &std::path::Path, to: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let image = guests::pack::pack(&std::fs::read(from)?)?;
    if let Some(directory) = to.parent() {
        std::fs::create_dir_all(directory)?;
    }
    Ok(std::fs::write(to, image)?)
}
