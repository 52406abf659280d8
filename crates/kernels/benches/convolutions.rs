//! Convolutions at the shapes of ResNet-50 and MobileNetV2, and products at those of BERT-base, in operations per second.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hearth_kernels::{Activation, Convolution, Depthwise, Filters, Images, Pool, Window, probe};

/// Size, channels in and out, window, stride.
const SHAPES: [(usize, usize, usize, usize, usize); 11] = [
    (224, 3, 64, 7, 2),
    (56, 64, 64, 1, 1),
    (56, 64, 64, 3, 1),
    (56, 64, 256, 1, 1),
    (56, 256, 64, 1, 1),
    (28, 128, 128, 3, 1),
    (14, 256, 256, 3, 1),
    (14, 1024, 256, 1, 1),
    (7, 512, 512, 3, 1),
    (7, 512, 2048, 1, 1),
    (7, 2048, 512, 1, 1),
];

fn window(size: usize, kernel: usize, stride: usize) -> Window {
    let padding = kernel / 2;
    let output = (size + 2 * padding - kernel) / stride + 1;
    Window {
        input: [size; 2],
        output: [output; 2],
        kernel: [kernel; 2],
        stride: [stride; 2],
        dilation: [1, 1],
        padding: [padding; 2],
    }
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i % 17) as f32 * 0.01 - 0.08).collect()
}

fn measure(
    c: &mut Criterion,
    pool: &Pool,
    name: &str,
    window: Window,
    inputs: usize,
    outputs: usize,
) {
    let filters = Filters {
        groups: 1,
        outputs,
        positions: window.kernel[0] * window.kernel[1],
        inputs,
    };
    let terms = filters.positions * inputs;
    let made = Convolution::new(filters, &numbers(outputs * terms), None).expect("memory");
    let x = numbers(window.input[0] * window.input[1] * inputs);
    let mut out = vec![0.0; window.output[0] * window.output[1] * outputs];
    let mut group = c.benchmark_group("convolution");
    group
        .sample_size(10)
        .warm_up_time(std::time::Duration::from_millis(100))
        .measurement_time(std::time::Duration::from_millis(400))
        .throughput(Throughput::Elements((2 * out.len() * terms) as u64));
    group.bench_function(BenchmarkId::new(name, outputs), |b| {
        let images = Images {
            window: &window,
            count: 1,
            x: &x,
            add: None,
            activation: Activation::Clamp(0.0, f32::INFINITY),
        };
        b.iter(|| made.run(pool, &images, black_box(&mut out)))
    });
}

fn convolutions(c: &mut Criterion) {
    let pool = Pool::new(0);
    println!("f32 peak {:.0} GOP/s", probe::f32_peak(&pool) / 1e9);
    for (size, inputs, outputs, kernel, stride) in SHAPES {
        let name = format!("{kernel}x{kernel} of {size}x{size}x{inputs}");
        measure(
            c,
            &pool,
            &name,
            window(size, kernel, stride),
            inputs,
            outputs,
        );
    }
    for (inputs, outputs) in [(768, 768), (768, 3072), (3072, 768)] {
        let name = format!("128 rows of {inputs}");
        measure(c, &pool, &name, Window::rows(128), inputs, outputs);
    }
    let mut group = c.benchmark_group("depthwise");
    group.sample_size(10);
    for (size, channels, stride) in [(112, 32, 1), (56, 144, 1), (14, 384, 1), (112, 96, 2)] {
        let window = window(size, 3, stride);
        let made = Depthwise::new(channels, 9, &numbers(9 * channels), None).expect("memory");
        let x = numbers(size * size * channels);
        let mut out = vec![0.0; window.output[0] * window.output[1] * channels];
        group.throughput(Throughput::Elements((18 * out.len()) as u64));
        group.bench_function(BenchmarkId::new(format!("{size}x{size}"), channels), |b| {
            let images = Images {
                window: &window,
                count: 1,
                x: &x,
                add: None,
                activation: Activation::None,
            };
            b.iter(|| made.run(&pool, &images, black_box(&mut out)))
        });
    }
}

criterion_group!(benches, convolutions);
criterion_main!(benches);
