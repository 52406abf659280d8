//! Every tier's vectors against the portable ones.

use super::*;

/// Applies every method to the same lanes and collects the bits.
struct All<'a> {
    x: &'a [f32; LANES],
    y: &'a [f32; LANES],
    w: &'a [u8; 64],
    a: &'a [u8; 64],
}

impl Kernel for All<'_> {
    const MULTIPLIES_BYTES: bool = true;
    type Output = Vec<(&'static str, Vec<u8>)>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let mut out = Vec::new();
        let (x, y) = (s.load(self.x), s.load(self.y));
        let (w, a) = (s.load_bytes(self.w), s.load_bytes(self.a));
        let mut f = |name, v: S::F| {
            let mut lanes = [0.0; LANES];
            s.store(v, &mut lanes);
            out.push((
                name,
                lanes
                    .iter()
                    .flat_map(|v| v.to_le_bytes())
                    .collect::<Vec<u8>>(),
            ));
        };
        f("add", s.add(x, y));
        f("sub", s.sub(x, y));
        f("mul", s.mul(x, y));
        f("div", s.div(x, y));
        f("max", s.max(x, y));
        f("min", s.min(x, y));
        f("select", s.select_negative(x, y, s.splat(3.0)));
        f("f16", s.load_f16(self.w[..32].try_into().unwrap()));
        f("bf16", s.load_bf16(self.w[..32].try_into().unwrap()));
        f("to_f32", s.to_f32(w));
        f("sum", s.splat(s.sum(s.add(x, y))));
        f("max_lane", s.splat(s.max_lane(s.max(s.splat(-1e9), x))));
        f("from_bits", s.of_bits(s.to_bits(x)));
        let mut halves = [0; 32];
        s.store_f16(x, &mut halves);
        out.push(("store_f16", halves.to_vec()));
        let mut i = |name, v: S::I| {
            let mut bytes = [0; 64];
            s.store_bytes(v, &mut bytes);
            out.push((name, bytes.to_vec()));
        };
        i(
            "to_i32",
            s.to_i32(s.max(s.splat(-1e6), s.min(s.splat(1e6), x))),
        );
        i("widen_u8", s.widen_u8(self.w[..16].try_into().unwrap()));
        i("widen_i8", s.widen_i8(self.w[..16].try_into().unwrap()));
        i("add_i32", s.add_i32(w, a));
        i("sub_i32", s.sub_i32(w, a));
        i("and", s.and(w, a));
        i("or", s.or(w, a));
        i("shl", s.shl::<5>(w));
        i("shr", s.shr::<5>(w));
        i("shr_by", s.shr_by(w, 9));
        i("sar", s.sar::<3>(w));
        i("dot_u8", s.dot_u8(a, w, a));
        i("dot_u7", s.dot_u7(a, s.and(w, s.splat_i32(0x7F7F_7F7F)), a));
        let mut bytes = [0; LANES];
        s.narrow_i8(w, &mut bytes);
        out.push(("narrow", bytes.map(|b| b as u8).to_vec()));
        let mut halves = [0; 2 * LANES];
        s.narrow_i16(s.sar::<16>(w), &mut halves);
        out.push(("narrow_i16", halves.to_vec()));
        out
    }
}

#[test]
fn all_tiers_do_as_the_portable_one() {
    let mut random = crate::testing::Random::new(1);
    for round in 0..300 {
        let mut x = [0.0; LANES];
        let mut y = [0.0; LANES];
        for v in x.iter_mut().chain(&mut y) {
            *v = random.normal() * 10f32.powi((random.below(12) as i32) - 6);
        }
        if round % 3 == 0 {
            (x[3], x[5], y[7], x[15]) = (f32::INFINITY, -0.0, 0.0, f32::NEG_INFINITY);
        }
        let mut w = [0; 64];
        let mut a = [0; 64];
        w.iter_mut()
            .chain(&mut a)
            .for_each(|b| *b = random.below(256) as u8);
        if round % 5 == 0 {
            w.fill(255);
            a.fill(if round % 2 == 0 { 127 } else { 129 });
        }
        a.iter_mut()
            .for_each(|b| *b = (*b).max(1 + (*b == 128) as u8 * 128));
        let kernel = || All {
            x: &x,
            y: &y,
            w: &w,
            a: &a,
        };
        let expected = run(Tier::Scalar, kernel());
        for tier in Tier::available() {
            for ((name, got), (_, expected)) in run(tier, kernel()).iter().zip(&expected) {
                // Halves and singles that are not numbers may differ in their payload.
                let same = got == expected || (name.contains("f16") && nan_equal(got, expected));
                assert!(same, "{tier} {name}: {got:?} != {expected:?}");
            }
        }
    }
}

/// Eight vectors of bytes of at most `max` with as many activations.
struct Dots {
    w: [[u8; 64]; 8],
    a: [i32; 8],
    max: i32,
    sums: [f32; LANES],
}

impl OnLanes for Dots {
    #[inline(always)]
    fn run<S: Lanes>(&mut self, s: S) {
        let mut w = [s.splat_i32(0); 8];
        for (w, bytes) in w.iter_mut().zip(&self.w) {
            *w = s.load_bytes(bytes);
        }
        let mut sums = s.splat_i32(1);
        if S::CENTRED && self.max > 127 {
            // What the others have more.
            sums = s.dots(sums, [s.splat_i32(0x4040_4040); 8], self.a, 127);
            sums = s.dots(sums, [s.splat_i32(0x4040_4040); 8], self.a, 127);
        }
        s.store(s.to_f32(s.dots(sums, w, self.a, self.max)), &mut self.sums);
    }
}

struct Halves<'a>(&'a mut Dots, bool);

impl Kernel for Halves<'_> {
    const MULTIPLIES_BYTES: bool = true;
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if self.1 {
            s.in_halves(self.0);
        } else {
            self.0.run(s);
        }
    }
}

#[test]
fn sums_of_many_products_are_exact_in_all_tiers() {
    let mut random = crate::testing::Random::new(2);
    for max in [3, 7, 15, 31, 63, 127, 255] {
        for round in 0..40 {
            let mut w = [[max as u8; 64]; 8];
            let mut a = [[if round % 2 == 0 { 127 } else { -127i8 }; 4]; 8];
            if round > 1 {
                let bytes = w.as_flattened_mut().iter_mut();
                bytes.for_each(|w| *w = random.below(max + 1) as u8);
            }
            if round > 3 {
                let bytes = a.as_flattened_mut().iter_mut();
                bytes.for_each(|a| *a = (random.below(255) as i32 - 127) as i8);
            }
            let mut expected = [1.0; LANES];
            for (lane, sum) in expected.iter_mut().enumerate() {
                for (w, a) in w.iter().zip(&a) {
                    let products = w[4 * lane..].iter().zip(a);
                    let products = products.map(|(w, a)| i32::from(*w) * i32::from(*a));
                    *sum += products.sum::<i32>() as f32;
                }
            }
            let a = a.map(|a| i32::from_le_bytes(a.map(|a| a as u8)));
            for (tier, halves) in Tier::available()
                .into_iter()
                .flat_map(|t| [(t, false), (t, true)])
            {
                let max = max as i32;
                let sums = [f32::NAN; LANES];
                let mut dots = Dots { w, a, max, sums };
                run(tier, Halves(&mut dots, halves));
                assert_eq!(dots.sums, expected, "{tier} {max} halves {halves}");
            }
        }
    }
}

fn nan_equal(a: &[u8], b: &[u8]) -> bool {
    a.as_chunks::<4>()
        .0
        .iter()
        .zip(b.as_chunks::<4>().0)
        .all(|(a, b)| {
            a == b || (f32::from_le_bytes(*a).is_nan() && f32::from_le_bytes(*b).is_nan())
        })
}
