//! Seconds per pass, measured on a grid of widths and context lengths and interpolated between.

use serde::{Deserialize, Serialize};

use super::error::{TheoryError, checked_seconds};

/// One cell of a grid: the seconds of passes of one width after one context length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassTime {
    /// Median of the measured passes, in seconds.
    pub seconds: f64,
    /// Standard error of that median, in seconds; 0 for a known time.
    pub standard_error: f64,
}

impl PassTime {
    /// The median of `samples` (seconds) and its standard error from the interquartile range:
    /// `√(π/2) · (IQR / 1.349) / √n`, which is that of normal samples and robust against a few slow
    /// passes. `None` without samples.
    ///
    /// ```
    /// use kad_polybasic::theory::PassTime;
    /// let cell = PassTime::of_samples(&[2.0, 1.0, 3.0, 2.0, 9.0]).unwrap();
    /// assert_eq!(cell.seconds, 2.0);
    /// # assert!(PassTime::of_samples(&[]).is_none());
    /// ```
    pub fn of_samples(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let quantile = |share: f64| {
            let at = share * last as f64;
            let (below, part) = (at.floor() as usize, at.fract());
            sorted[below] + part * (sorted[(below + 1).min(last)] - sorted[below])
        };
        // For a normal distribution the interquartile range is 1.349 σ, and the median of n samples
        // has a standard deviation of σ √(π / 2n).
        let sigma = (quantile(0.75) - quantile(0.25)) / 1.349;
        let standard_error = sigma * (std::f64::consts::FRAC_PI_2 / sorted.len() as f64).sqrt();
        Some(Self { seconds: quantile(0.5), standard_error })
    }
}

/// `T(width, context)`: seconds of one pass over `width` tokens after `context` tokens.
///
/// Bilinear interpolation between the grid's widths and contexts. Outside, linear extrapolation
/// through the two nearest grid points (constant if there is only one), cut off at 0.
///
/// ```
/// use kad_polybasic::theory::{PassTime, PassTimes};
/// let cell = |seconds| PassTime { seconds, standard_error: 0.0 };
/// // Rows are contexts, columns widths.
/// let grid = vec![vec![cell(1.0), cell(1.6)], vec![cell(2.0), cell(2.6)]];
/// let times = PassTimes::new(vec![1, 4], vec![0, 100], grid)?;
/// assert!((times.seconds(2, 50) - 1.7).abs() < 1e-12);
/// assert!((times.seconds(8, 200) - 4.4).abs() < 1e-12);
/// # Ok::<(), kad_polybasic::theory::TheoryError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredPassTimes", into = "StoredPassTimes")]
pub struct PassTimes {
    grid: StoredPassTimes,
}

/// The stored form of [`PassTimes`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPassTimes {
    /// Tokens per pass, strictly rising.
    widths: Vec<usize>,
    /// Tokens before the pass, strictly rising.
    contexts: Vec<usize>,
    /// `[contexts, widths]`.
    cells: Vec<Vec<PassTime>>,
}

impl TryFrom<StoredPassTimes> for PassTimes {
    type Error = TheoryError;

    fn try_from(grid: StoredPassTimes) -> Result<Self, TheoryError> {
        Self::new(grid.widths, grid.contexts, grid.cells)
    }
}

impl From<PassTimes> for StoredPassTimes {
    fn from(times: PassTimes) -> Self {
        times.grid
    }
}

impl PassTimes {
    /// A grid of measured times, `cells` = `[contexts, widths]`. `widths` ≥ 1 and `contexts` ≥ 0
    /// rise strictly.
    ///
    /// # Errors
    /// If an axis is empty or does not rise, a width is 0, the shape does not fit, or a time is
    /// negative or no number.
    pub fn new(
        widths: Vec<usize>,
        contexts: Vec<usize>,
        cells: Vec<Vec<PassTime>>,
    ) -> Result<Self, TheoryError> {
        let rising = |axis: &[usize]| !axis.is_empty() && axis.is_sorted_by(|a, b| a < b);
        if !rising(&widths) || widths[0] == 0 {
            return Err(TheoryError::GridAxis { axis: "widths", least: 1, found: widths });
        }
        if !rising(&contexts) {
            return Err(TheoryError::GridAxis { axis: "contexts", least: 0, found: contexts });
        }
        let fits = cells.len() == contexts.len() && cells.iter().all(|r| r.len() == widths.len());
        if !fits {
            let (rows, columns) = (contexts.len(), widths.len());
            return Err(TheoryError::GridShape { rows, columns });
        }
        for cell in cells.iter().flatten() {
            checked_seconds("a pass", cell.seconds)?;
            checked_seconds("the standard error of a pass", cell.standard_error)?;
        }
        Ok(Self { grid: StoredPassTimes { widths, contexts, cells } })
    }

    /// The same time for every width and context: the `T_i` of arXiv 2510.26527.
    ///
    /// ```
    /// use kad_polybasic::theory::PassTimes;
    /// let times = PassTimes::constant(22e-3)?;
    /// assert_eq!(times.seconds(6, 1000), 22e-3);
    /// # Ok::<(), kad_polybasic::theory::TheoryError>(())
    /// ```
    ///
    /// # Errors
    /// If `seconds` is negative or no number.
    pub fn constant(seconds: f64) -> Result<Self, TheoryError> {
        let cell = PassTime { seconds, standard_error: 0.0 };
        Self::new(vec![1], vec![0], vec![vec![cell]])
    }

    /// `first` seconds for a pass over one token and `each` seconds for every further token, after
    /// any context.
    ///
    /// ```
    /// use kad_polybasic::theory::PassTimes;
    /// let times = PassTimes::linear(3.0, 0.5)?;
    /// assert_eq!(times.seconds(5, 1000), 5.0);
    /// # Ok::<(), kad_polybasic::theory::TheoryError>(())
    /// ```
    ///
    /// # Errors
    /// If either is negative or no number.
    pub fn linear(first: f64, each: f64) -> Result<Self, TheoryError> {
        let cell = |seconds| PassTime { seconds, standard_error: 0.0 };
        Self::new(vec![1, 2], vec![0], vec![vec![cell(first), cell(first + each)]])
    }

    /// Seconds of a pass over `width` ≥ 1 tokens after `context` tokens.
    pub fn seconds(&self, width: usize, context: usize) -> f64 {
        let StoredPassTimes { widths, contexts, cells } = &self.grid;
        let across = LinearInterpolation::through(widths, width);
        let at = |row: usize| across.of(|column| cells[row][column].seconds);
        LinearInterpolation::through(contexts, context).of(at).max(0.0)
    }

    /// Adds the weight of each grid cell in [`seconds`](Self::seconds) to `cells`, row by row: the
    /// result is `Σ weight · median` unless it is cut off at 0.
    pub(super) fn spread(&self, width: usize, context: usize, cells: &mut Vec<f64>) {
        let StoredPassTimes { widths, contexts, .. } = &self.grid;
        cells.resize(widths.len() * contexts.len(), 0.0);
        let (across, down) = (
            LinearInterpolation::through(widths, width),
            LinearInterpolation::through(contexts, context),
        );
        for (row, of_row) in down.shares() {
            for (column, share) in across.shares() {
                cells[row * widths.len() + column] += of_row * share;
            }
        }
    }

    /// The widths of the grid, strictly rising.
    pub fn widths(&self) -> &[usize] {
        &self.grid.widths
    }

    /// The context lengths of the grid, strictly rising.
    pub fn contexts(&self) -> &[usize] {
        &self.grid.contexts
    }

    /// The cells of the grid, `[contexts, widths]`.
    pub fn cells(&self) -> &[Vec<PassTime>] {
        &self.grid.cells
    }

    /// The same grid with every median replaced by `draw(cell)`, at least 0; for the bootstrap.
    pub(super) fn redrawn(&self, mut draw: impl FnMut(PassTime) -> f64) -> Self {
        let mut grid = self.grid.clone();
        for cell in grid.cells.iter_mut().flatten() {
            cell.seconds = draw(*cell).max(0.0);
        }
        Self { grid }
    }
}

/// Linear interpolation between two neighbouring grid points, at one position.
struct LinearInterpolation {
    from: usize,
    to: usize,
    /// 0 at `from`, 1 at `to`; outside [0, 1] beyond the grid.
    part: f64,
}

impl LinearInterpolation {
    fn through(axis: &[usize], place: usize) -> Self {
        let last = axis.len() - 1;
        let to =
            axis.iter().position(|&point| point >= place).unwrap_or(last).clamp(last.min(1), last);
        let from = to.saturating_sub(1);
        let part = match axis[to] - axis[from] {
            0 => 0.0,
            step => (place as f64 - axis[from] as f64) / step as f64,
        };
        Self { from, to, part }
    }

    /// The two grid points and their weights; the same point twice if there is only one.
    fn shares(&self) -> [(usize, f64); 2] {
        [(self.from, 1.0 - self.part), (self.to, self.part)]
    }

    fn of(&self, value: impl Fn(usize) -> f64) -> f64 {
        let (from, to) = (value(self.from), value(self.to));
        from + self.part * (to - from)
    }
}
