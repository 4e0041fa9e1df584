//! What an app needs to update itself: docs/asking.md says why it is so.

use changeover::engine::EngineError;
use changeover::identity::own_name;
use changeover::launch::{self, HelperOptions, PullPolicy, Request};

/// Starts the update to `image` of the container in which this runs. Says why not, if so.
pub(crate) async fn start(image: &str) -> Result<(), Box<dyn std::error::Error>> {
    let engine = launch::connect(None).await?;
    let request = Request::new(&own_name(&engine).await?, image);
    let request = Request { pull: PullPolicy::Missing, ..request };
    let helper = HelperOptions { image: Some("changeover:0.1.0".into()), ..Default::default() };
    launch::update(&engine, &request, &helper, |_| {}).await?;
    Ok(())
}

/// Whether there is this image.
pub(crate) async fn is_there(image: &str) -> Result<bool, EngineError> {
    Ok(launch::connect(None).await?.image(image).await?.is_some())
}
