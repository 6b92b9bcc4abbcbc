//! Addresses in a program are corrected for where it is loaded. As a list they take 24 bytes each, packed
//! hardly any: 1.2 MiB of the package. The C library must be 2.36 or later for it, which `dpkg-shlibdeps`
//! does not see: whoever has the systemd that the package depends on has it.

#[expect(clippy::print_stdout, reason = "cargo reads it")]
fn main() {
    println!("cargo::rerun-if-changed=../packaging/link.rs");
    let of_target = |key: &str| std::env::var(key).unwrap_or_default();
    if of_target("CARGO_CFG_TARGET_ENV") == "gnu" && of_target("CARGO_CFG_TARGET_OS") == "linux" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
