//! The app's colour, made readable: as text and lines on a light and on a dark ground.

/// The page's grounds, as in `page.css`.
const LIGHT: [u8; 3] = [0xf8, 0xf7, 0xf3];
const DARK: [u8; 3] = [0x13, 0x17, 0x16];

/// What WCAG asks of text.
const CONTRAST: f64 = 4.5;

/// The style that gives the page its accent, for light and dark.
pub(super) fn style(accent: [u8; 3]) -> String {
    let [light, dark] =
        [(LIGHT, 0), (DARK, 255)].map(|(ground, end)| readable(accent, ground, end));
    format!("\n:root {{ --app-light: {light}; --app-dark: {dark}; }}\n")
}

/// The colour, mixed with as much black or white (`end`) as it takes.
fn readable(colour: [u8; 3], ground: [u8; 3], end: u8) -> String {
    let mix = |part: u16| {
        colour.map(|value| {
            ((u16::from(value) * (64 - part) + u16::from(end) * part + 32) / 64).min(255) as u8
        })
    };
    let found = (0..=64).map(mix).find(|mixed| contrast(*mixed, ground) >= CONTRAST);
    let [red, green, blue] = found.unwrap_or([end; 3]);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn contrast(a: [u8; 3], b: [u8; 3]) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

fn luminance(colour: [u8; 3]) -> f64 {
    let [red, green, blue] = colour.map(|value| {
        let value = f64::from(value) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::face::Colour;
    use crate::page::assets::Assets;

    proptest! {
        #[test]
        fn every_colour_becomes_readable(colour: [u8; 3]) {
            for (ground, end) in [(LIGHT, 0), (DARK, 255)] {
                let mixed: Colour = readable(colour, ground, end).parse().expect("a colour");
                prop_assert!(contrast(mixed.rgb(), ground) >= CONTRAST);
            }
        }
    }

    #[test]
    fn a_colour_that_is_readable_stays_as_it_is() {
        assert_eq!(readable([0x0f, 0x76, 0x6a], LIGHT, 0), "#0f766a");
        assert_eq!(readable([0x52, 0xc4, 0xaf], DARK, 255), "#52c4af");
    }

    #[test]
    fn the_grounds_are_those_of_the_style_sheet() {
        for ground in [LIGHT, DARK] {
            let [red, green, blue] = ground;
            let line = format!("--ground: #{red:02x}{green:02x}{blue:02x};");
            assert!(Assets::ours().css.contains(&line), "{line}");
        }
    }
}
