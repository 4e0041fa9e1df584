//! The helper's image as one who publishes it makes it, without any base image.

use std::fs;
use std::path::Path;

use changeover_tests::lab::EngineKind;
use changeover_tests::world::{World, program};

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "an_image_built_by_the_dockerfile_is_a_helper",
            alone: false,
            run: an_image_built_by_the_dockerfile_is_a_helper,
        },
        Case {
            name: "an_image_imported_from_the_tar_is_a_helper",
            alone: false,
            run: an_image_imported_from_the_tar_is_a_helper,
        },
    ]
}

fn an_image_built_by_the_dockerfile_is_a_helper(kind: EngineKind) {
    let world = World::start(kind);
    let context = world.lab.dir().join("context");
    fs::create_dir_all(context.join("target/image")).expect("the lab's directory is writable");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in ["Dockerfile.updater", ".dockerignore"] {
        fs::copy(workspace.join(file), context.join(file)).expect("a file to copy");
    }
    fs::copy(program("changeover"), context.join("target/image/changeover")).expect("a copy");
    // The stage from source comes later in the file: no builder gets as far as its base image.
    let build = "docker build --file Dockerfile.updater --target binary --tag published:1 .";
    docker(&world, &context, build);
    is_a_helper(&world);
}

fn an_image_imported_from_the_tar_is_a_helper(kind: EngineKind) {
    let world = World::start(kind);
    let context = world.lab.dir().join("context");
    fs::create_dir_all(&context).expect("the lab's directory is writable");
    fs::copy(program("changeover"), context.join("changeover")).expect("a copy");
    let import = r#"tar --create --file changeover.tar --mode=755 changeover &&
        docker import --change 'ENTRYPOINT ["/changeover"]' changeover.tar published:1"#;
    docker(&world, &context, import);
    is_a_helper(&world);
}

/// An update by `published:1` works, and leaves the image to its owner.
fn is_a_helper(world: &World) {
    world.images(&[1, 2]);
    world.run_web("app:1");
    let args = ["update", "web", "--image", "app:2", "--helper-image", "published:1"];
    world.changeover(&args).expect(0);
    world.assert_settled("2", false);
    assert_eq!(world.image_references(), ["app:1", "app:2", "published:1"]);
    // `docker run published:1 --help` works as well: the program is the image's entry point.
    let (_, image) = world.lab.api("GET", "/images/published:1/json", None);
    assert_eq!(image["Config"]["Entrypoint"][0], "/changeover");
    let size = image["Size"].as_u64().expect("a size");
    // Only the program that is shipped is small.
    if std::env::var_os("CHANGEOVER_BIN_DIR").is_some() {
        // Of these, half a million keeps data and puts it back, by ciphers that are compiled for
        // speed and not for size, and 0.4 million ask release feeds and registries: the client's
        // side of TLS, without a list of authorities. The last 100,000 are for registries that are
        // known by Docker's certificates, and for words on rootless engines and proxies.
        assert!(size <= 7_500_000, "the image has {size} bytes");
    }
}

fn docker(world: &World, dir: &Path, script: &str) {
    let script =
        format!("cd {} && DOCKER_BUILDKIT=0 && export DOCKER_BUILDKIT && {script}", dir.display());
    let done = world.lab.machine_command("sh").args(["-c", &script]).output();
    let done = done.expect("the machine has a shell");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{script}: {said}{}", String::from_utf8_lossy(&done.stdout));
}
