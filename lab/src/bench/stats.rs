//! What is made of many measurements.

/// The middle one; of two middle ones, their mean.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(*upper);
    }
    sorted.get(middle.checked_sub(1)?).map(|lower| f64::midpoint(*lower, *upper))
}

/// The smallest value that so many percent do not exceed.
pub(crate) fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let sorted = sorted(values);
    let rank = (sorted.len() * percent.min(100)).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// The median of what one is to the other, repetition by repetition: what was noisy was noisy for both.
pub(crate) fn ratio(ours: &[f64], theirs: &[f64]) -> Option<f64> {
    let pairs = ours.iter().zip(theirs).filter(|(_, theirs)| **theirs > 0.0);
    median(&pairs.map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        for (values, want) in [
            (&[][..], None),
            (&[7.0], Some(7.0)),
            (&[9.0, 1.0, 4.0], Some(4.0)),
            (&[4.0, 1.0, 9.0, 2.0], Some(3.0)),
            (&[f64::NAN, 5.0, f64::INFINITY], Some(5.0)),
        ] {
            assert_eq!(median(values), want, "{values:?}");
        }
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (percent, want) in [(0, 1.0), (1, 1.0), (50, 50.0), (99, 99.0), (100, 100.0), (900, 100.0)] {
            assert_eq!(percentile(&hundred, percent), Some(want), "{percent}");
        }
        assert_eq!(percentile(&[3.0], 99), Some(3.0));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn a_ratio_compares_within_a_repetition() {
        // Both twice as slow in the second: that says nothing about either.
        assert_eq!(ratio(&[2.0, 4.0, 2.0], &[1.0, 2.0, 1.0]), Some(2.0));
        assert_eq!(ratio(&[2.0], &[0.0]), None);
        assert_eq!(ratio(&[], &[]), None);
    }
}
