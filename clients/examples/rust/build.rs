use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../proto");
    println!("cargo:rerun-if-changed={}", protos.join("aisecops/v1").display());
    std::env::set_var("PROTOC", protoc_bin_vendored::protoc_bin_path()?);
    let services = ["decision_service", "approval_service", "execution_service"]
        .map(|name| protos.join(format!("aisecops/v1/{name}.proto")));
    tonic_prost_build::configure()
        .build_server(false)
        .compile_protos(&services, &[protos, protoc_bin_vendored::include_path()?])?;
    Ok(())
}
