//! The colours of charts, on light and on dark paper.
//!
//! The backend writes the light colour into the SVG; for a dark page the style replaces it by value.

use plotters::style::RGBColor;

const fn rgb(hex: u32) -> RGBColor {
    RGBColor((hex >> 16) as u8, (hex >> 8) as u8, hex as u8)
}

pub(crate) const PAPER: RGBColor = THEME[0].0;
pub(crate) const INK: RGBColor = THEME[1].0;
pub(crate) const FAINT: RGBColor = THEME[2].0;
pub(crate) const GRID: RGBColor = THEME[3].0;
/// Colour of marks that belong to no model and no family; the last of [`COLOURS`].
pub(crate) const GREY: RGBColor = COLOURS[6];

/// Colours of families and models.
pub(crate) const COLOURS: [RGBColor; 7] =
    [THEME[4].0, THEME[5].0, THEME[6].0, THEME[7].0, THEME[8].0, THEME[9].0, THEME[10].0];

/// Paper, ink, faint ink and grid, then [`COLOURS`]; on light and on dark paper.
///
/// The colours are near Okabe and Ito's hues (jfly.uni-koeln.de/color), moved until they contrast
/// with the paper and with each other, also for red-green colour blindness; the tests have the
/// bounds.
const THEME: [(RGBColor, RGBColor); 11] = [
    (rgb(0xff_ffff), rgb(0x1f_2125)),
    (rgb(0x22_2222), rgb(0xe9_e9ec)),
    (rgb(0x55_5555), rgb(0xa9_a9b4)),
    (rgb(0xdd_dddd), rgb(0x3b_3d45)),
    (rgb(0x0f_62ca), rgb(0x23_7bfb)),
    (rgb(0xb7_4018), rgb(0xf1_6213)),
    (rgb(0x0c_a691), rgb(0x18_a67f)),
    (rgb(0x9b_3e77), rgb(0xe5_8ad6)),
    (rgb(0xda_780d), rgb(0xe1_c617)),
    (rgb(0x57_90f0), rgb(0xa4_e6da)),
    (rgb(0x66_6666), rgb(0x9c_9ca6)),
];

/// Every colour that charts use, for the page's style: on light paper, as in the SVG, and on dark.
pub(crate) fn colours() -> [[String; 2]; THEME.len()] {
    let hex = |RGBColor(r, g, b): RGBColor| format!("#{r:02X}{g:02X}{b:02X}");
    THEME.map(|(light, dark)| [light, dark].map(hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linear sRGB channels in [0, 1] (IEC 61966-2-1).
    fn linear(RGBColor(r, g, b): RGBColor) -> [f64; 3] {
        [r, g, b].map(|channel| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        })
    }

    /// The product of a matrix of such rows and a vector.
    fn product<const N: usize>(rows: [[f64; 3]; N], vector: [f64; 3]) -> [f64; N] {
        rows.map(|row| row[0] * vector[0] + row[1] * vector[1] + row[2] * vector[2])
    }

    /// WCAG 2.2's contrast ratio, 1 to 21.
    fn contrast(a: RGBColor, b: RGBColor) -> f64 {
        let luminance = |colour| product([[0.2126, 0.7152, 0.0722]], linear(colour))[0] + 0.05;
        let (a, b) = (luminance(a), luminance(b));
        a.max(b) / a.min(b)
    }

    /// Lightness and two opponent axes (Ottosson's Oklab, 2020) of linear channels: from channels to
    /// cones, and from their cube roots to the axes.
    const OKLAB: [[[f64; 3]; 3]; 2] = [
        [
            [0.412_221_470_8, 0.536_332_536_3, 0.051_445_992_9],
            [0.211_903_498_2, 0.680_699_545_1, 0.107_396_956_6],
            [0.088_302_461_9, 0.281_718_837_6, 0.629_978_700_5],
        ],
        [
            [0.210_454_255_3, 0.793_617_785_0, -0.004_072_046_8],
            [1.977_998_495_1, -2.428_592_205_0, 0.450_593_709_9],
            [0.025_904_037_1, 0.782_771_766_2, -0.808_675_766_0],
        ],
    ];

    /// Vision without green cones, and without red ones (Machado et al. 2009, severity 1).
    const BLIND: [[[f64; 3]; 3]; 2] = [
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
    ];

    #[test]
    fn lines_and_text_stand_out_from_both_papers() {
        let [paper, ink, faint, ..] = THEME;
        for (light, dark) in [ink, faint] {
            assert!(contrast(light, paper.0) >= 4.5 && contrast(dark, paper.1) >= 4.5);
        }
        for (light, dark) in &THEME[4..] {
            let found = (contrast(*light, paper.0), contrast(*dark, paper.1));
            assert!(found.0 >= 3.0 && found.1 >= 3.0, "{light:?} {dark:?} {found:?}");
        }
    }

    /// Least Oklab distance of the first six without green or red cones; a just noticeable one is
    /// about 0.02.
    #[test]
    fn colours_differ_also_for_the_colour_blind() {
        for (dark, blind) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
            let seen = THEME[4..10].iter().map(|(light, other)| {
                let channels = product(BLIND[blind], linear(if dark { *other } else { *light }));
                let cones = product(OKLAB[0], channels.map(|it| it.clamp(0.0, 1.0)));
                product(OKLAB[1], cones.map(f64::cbrt))
            });
            let seen: Vec<[f64; 3]> = seen.collect();
            for (i, a) in seen.iter().enumerate() {
                for (j, b) in seen.iter().enumerate().skip(i + 1) {
                    let distance =
                        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                    assert!(distance > 0.12, "{i} {j} {distance}");
                }
            }
        }
    }
}
