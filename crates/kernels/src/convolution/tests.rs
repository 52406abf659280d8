//! Convolutions of every kind in every tier, and the law that outputs do not depend on each other.

use super::*;
use crate::testing::{Random, assert_close, bits};

/// A convolution of random numbers.
struct Case {
    filters: Filters,
    window: Window,
    count: usize,
    weights: Vec<f32>,
    bias: Vec<f32>,
    x: Vec<f32>,
    add: Vec<f32>,
}

impl Case {
    fn new(random: &mut Random, filters: Filters, window: Window, count: usize) -> Case {
        let channels = filters.groups * filters.outputs;
        let volume = |[rows, columns]: [usize; 2]| count * rows * columns;
        Case {
            filters,
            window,
            count,
            weights: random.normals(channels * filters.terms()),
            bias: random.normals(channels),
            x: random.normals(volume(window.input) * filters.groups * filters.inputs),
            add: random.normals(volume(window.output) * channels),
        }
    }

    fn images(&self, activation: Activation) -> Images<'_> {
        Images {
            window: &self.window,
            count: self.count,
            x: &self.x,
            add: Some(&self.add),
            activation,
        }
    }

    /// The sums before the activation, in f64.
    fn sums(&self) -> Vec<f64> {
        let Filters {
            groups,
            outputs,
            positions,
            inputs,
        } = self.filters;
        let [height, width] = self.window.input;
        let images = self.images(Activation::None);
        let pixels = self.count * self.window.pixels();
        let mut sums = Vec::new();
        for (image, y, x) in images.each(0..pixels) {
            for channel in 0..groups * outputs {
                let mut sum = f64::from(self.bias[channel]) + f64::from(self.add[sums.len()]);
                for position in 0..positions {
                    let (ky, kx) = (
                        position / self.window.kernel[1],
                        position % self.window.kernel[1],
                    );
                    let seen = self.window.seen(0, y, ky).zip(self.window.seen(1, x, kx));
                    let Some((y, x)) = seen else { continue };
                    let row = ((image * height + y) * width + x) * groups * inputs;
                    let row = &self.x[row + channel / outputs * inputs..][..inputs];
                    let weights = &self.weights[(channel * positions + position) * inputs..];
                    let terms = row.iter().zip(weights);
                    sum += terms
                        .map(|(x, w)| f64::from(*x) * f64::from(*w))
                        .sum::<f64>();
                }
                sums.push(sum);
            }
        }
        sums
    }

    fn convolved(&self, tier: Tier, pool: &Pool, activation: Activation) -> Vec<f32> {
        let made = Convolution::new(self.filters, &self.weights, Some(&self.bias)).unwrap();
        let mut out = vec![f32::NAN; self.add.len()];
        made.run_on(tier, pool, &self.images(activation), &mut out);
        out
    }
}

/// A random window over an image.
fn window(random: &mut Random) -> Window {
    let mut pair = |least, n| [least + random.below(n), least + random.below(n)];
    let (kernel, stride, dilation, padding) = (pair(1, 4), pair(1, 3), pair(1, 2), pair(0, 3));
    let input = pair(7, 12);
    let mut output = [0; 2];
    for i in 0..2 {
        let reach = dilation[i] * (kernel[i] - 1) + 1;
        output[i] = (input[i] + 2 * padding[i] - reach) / stride[i] + 1;
    }
    Window {
        input,
        output,
        kernel,
        stride,
        dilation,
        padding,
    }
}

#[test]
fn convolutions_in_every_tier() {
    let pool = Pool::new(2);
    let mut random = Random::new(31);
    for round in 0..40 {
        let window = match round % 4 {
            0 => Window::rows(1 + random.below(20)),
            _ => window(&mut random),
        };
        let filters = Filters {
            groups: [1, 1, 2, 3][random.below(4)],
            outputs: 1 + random.below(80),
            positions: window.positions(),
            inputs: 1 + random.below(20),
        };
        let images = 1 + random.below(3);
        let case = Case::new(&mut random, filters, window, images);
        let sums: Vec<f32> = case.sums().iter().map(|x| *x as f32).collect();
        let tolerance = 1e-6 * filters.terms() as f32 + 1e-5;
        for tier in Tier::available() {
            let got = case.convolved(tier, &pool, Activation::None);
            assert_close(
                &got,
                &sums,
                tolerance,
                &format!("{tier} {filters:?} {window:?}"),
            );
        }
    }
}

#[test]
fn activations_come_last() {
    let pool = Pool::new(1);
    let mut random = Random::new(32);
    let window = window(&mut random);
    let filters = Filters {
        groups: 1,
        outputs: 19,
        positions: window.positions(),
        inputs: 9,
    };
    let case = Case::new(&mut random, filters, window, 1);
    let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
    type Function = fn(f64, &dyn Fn(f64) -> f64) -> f64;
    let functions: [(Activation, Function); 3] = [
        (Activation::Clamp(-0.5, 6.0), |x, _| x.clamp(-0.5, 6.0)),
        (Activation::Silu, |x, logistic| x * logistic(x)),
        (Activation::HardSwish, |x, _| {
            x * (x / 6.0 + 0.5).clamp(0.0, 1.0)
        }),
    ];
    for tier in Tier::available() {
        for (activation, function) in functions {
            let expected = case
                .sums()
                .into_iter()
                .map(|x| function(x, &logistic) as f32);
            let expected: Vec<f32> = expected.collect();
            let got = case.convolved(tier, &pool, activation);
            assert_close(&got, &expected, 1e-4, "activation");
        }
        let mut expected = case.convolved(tier, &pool, Activation::None);
        crate::gelu(&pool, &mut expected);
        let got = case.convolved(tier, &pool, Activation::Gelu);
        assert_close(&got, &expected, 1e-6, "gelu");
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    let pool = Pool::new(1);
    let filters = Filters {
        groups: 1,
        outputs: 17,
        positions: 1,
        inputs: 1,
    };
    let made = Convolution::new(filters, &[1.0; 17], None).unwrap();
    for tier in Tier::available() {
        let mut out = [0.0; 34];
        let images = Images {
            window: &Window::rows(2),
            count: 1,
            x: &[f32::NAN, -1.0],
            add: None,
            activation: Activation::Clamp(0.0, f32::INFINITY),
        };
        made.run_on(tier, &pool, &images, &mut out);
        assert!(out[..17].iter().all(|x| x.is_nan()), "{tier}");
        assert!(out[17..].iter().all(|x| *x == 0.0), "{tier}");
    }
}

#[test]
fn images_and_threads_do_not_change_a_bit() {
    let mut random = Random::new(33);
    for (outputs, inputs) in [(70, 33), (16, 3), (130, 8)] {
        let window = window(&mut random);
        let filters = Filters {
            groups: 1,
            outputs,
            positions: window.positions(),
            inputs,
        };
        let case = Case::new(&mut random, filters, window, 5);
        let made = Convolution::new(filters, &case.weights, Some(&case.bias)).unwrap();
        let together = case.convolved(cpu_tier(), &Pool::new(3), Activation::Gelu);
        let pool = Pool::new(1);
        let image = case.x.len() / case.count;
        let len = together.len() / case.count;
        let mut out = vec![0.0; len];
        for i in 0..case.count {
            let (x, add) = (&case.x[i * image..][..image], &case.add[i * len..][..len]);
            let alone = Images {
                count: 1,
                x,
                add: Some(add),
                ..case.images(Activation::Gelu)
            };
            made.run(&pool, &alone, &mut out);
            assert_eq!(bits(&out), bits(&together[i * len..][..len]), "image {i}");
        }
    }
}

#[test]
fn depthwise_convolutions_in_every_tier() {
    let pool = Pool::new(2);
    let mut random = Random::new(34);
    for _ in 0..20 {
        let window = window(&mut random);
        let filters = Filters {
            groups: 1 + random.below(40),
            outputs: 1,
            positions: window.positions(),
            inputs: 1,
        };
        let images = 1 + random.below(3);
        let case = Case::new(&mut random, filters, window, images);
        let made = Depthwise::new(
            filters.groups,
            filters.positions,
            &case.weights,
            Some(&case.bias),
        );
        let made = made.unwrap();
        let sums: Vec<f32> = case.sums().iter().map(|x| *x as f32).collect();
        for tier in Tier::available() {
            let mut got = vec![f32::NAN; sums.len()];
            made.run_on(tier, &pool, &case.images(Activation::None), &mut got);
            assert_close(&got, &sums, 1e-5, &format!("{tier} {window:?}"));
        }
    }
}

#[test]
fn empty_weights_are_refused() {
    let filters = Filters {
        groups: 1,
        outputs: 0,
        positions: 1,
        inputs: 4,
    };
    let refused = Convolution::new(filters, &[], None);
    assert!(matches!(refused, Err(KernelError::Empty { .. })));
    let refused = Depthwise::new(0, 9, &[], None);
    assert!(matches!(refused, Err(KernelError::Empty { .. })));
}
