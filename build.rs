//! Has the linker lay the code that circusd runs from day to day side by side (layout/profile.sh tells why and how).

#![expect(clippy::disallowed_methods, reason = "cargo speaks to it in variables")]

fn main() {
    println!("cargo::rerun-if-changed=layout/circusd.ld");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    println!("cargo::rerun-if-env-changed=CIRCUS_NO_LAYOUT");
    let variable = |name| std::env::var(name).unwrap_or_default();
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    // These linkers take no scripts, and with others one may say so; the program is the same, in another order.
    let takes_scripts = !["mold", "wild", "gold"].iter().any(|linker| flags.contains(linker));
    let wanted = takes_scripts && variable("CIRCUS_NO_LAYOUT").is_empty();
    if wanted && variable("PROFILE") == "release" && variable("CARGO_CFG_TARGET_OS") == "linux" {
        let directory = variable("CARGO_MANIFEST_DIR");
        println!("cargo::rustc-link-arg-bin=circusd=-Wl,-T,{directory}/layout/circusd.ld");
    }
}
