//! The new container is the same container.

mod composes;
mod differences;
mod layer;

use changeover_tests::world::World;

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    [differences::cases(), layer::cases(), composes::cases()].concat()
}

/// A case named as its function.
macro_rules! case {
    ($name:ident) => {
        crate::Case { name: stringify!($name), alone: false, run: $name }
    };
}
use case;

/// What is in a file of a container; `None` if there is none.
fn content(world: &World, container: &str, path: &str) -> Option<String> {
    let path = format!("/containers/{container}/archive?path={path}");
    let (status, archive) = world.lab.api_raw("GET", &path, &[], &[]);
    if status != 200 {
        return None;
    }
    let mut archive = tar::Archive::new(&archive[..]);
    let mut entries = archive.entries().expect("a tar");
    let entry = entries.next()?.expect("an entry");
    Some(std::io::read_to_string(entry).expect("text"))
}
