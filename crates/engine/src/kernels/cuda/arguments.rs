//! What each kernel takes: a struct a kernel, a field an argument, as its .cu file declares them and in that
//! order. Nobody else puts arguments in a row, and a test holds this list to the sources: an argument in the
//! wrong place would be read as something else, without a word.

use std::marker::PhantomData;

/// Where a kernel finds its numbers, for as long as they are borrowed: an address on a device, or in tests which
/// of their buffers it is.
#[derive(Debug)]
pub(crate) struct Pointer<'a, T>(u64, PhantomData<&'a T>);

impl<T> Pointer<'_, T> {
    /// No numbers.
    pub(crate) const NULL: Self = Self(0, PhantomData);

    /// To numbers at this address, which outlive it.
    pub(crate) fn new(address: u64) -> Self {
        Self(address, PhantomData)
    }

    /// Where that is.
    #[cfg(test)]
    pub(super) fn address(self) -> u64 {
        self.0
    }
}

#[cfg(feature = "cuda")]
impl<'a> Pointer<'a, u8> {
    /// To the numbers of pages, of which it had the bytes.
    pub(super) fn of_pages(self) -> Pointer<'a, Kept> {
        Pointer::new(self.0)
    }
}

impl<T> Clone for Pointer<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Pointer<'_, T> {}

/// A number of a page, of the type that the kernel is compiled for: f32 or f16.
#[derive(Debug)]
pub(crate) enum Kept {}

/// An argument as the driver takes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Argument {
    /// Of 64 bits.
    Pointer(u64),
    /// An `int`.
    Int(i32),
    /// A `float`.
    Float(f32),
}

/// A type that kernels take.
pub(crate) trait Parameter {
    /// How the sources write it, but for `const`.
    #[cfg(test)]
    const TYPE: &'static str;

    /// This one.
    fn argument(&self) -> Argument;
}

macro_rules! parameters {
    ($($rust:ty = $cuda:literal: |$this:ident| $argument:expr;)*) => {
        $(impl Parameter for $rust {
            #[cfg(test)]
            const TYPE: &'static str = $cuda;

            fn argument(&self) -> Argument {
                let $this = self;
                $argument
            }
        })*
    };
}

parameters! {
    Pointer<'_, f32> = "float*": |pointer| Argument::Pointer(pointer.0);
    Pointer<'_, u32> = "unsigned*": |pointer| Argument::Pointer(pointer.0);
    Pointer<'_, Kept> = "T*": |pointer| Argument::Pointer(pointer.0);
    i32 = "int": |number| Argument::Int(*number);
    f32 = "float": |number| Argument::Float(*number);
}

/// A kernel with what it is given.
pub(crate) trait Kernel {
    /// Its name in the sources; those for several types or sizes have more behind it in the module.
    const NAME: &'static str;

    /// Its arguments' types and names, in order.
    #[cfg(test)]
    const PARAMETERS: &'static [(&'static str, &'static str)];

    /// Its arguments, in order.
    fn arguments(&self) -> Vec<Argument>;
}

macro_rules! kernels {
    ($($kernel:ident as $name:ident { $($field:ident: $kind:ty,)* })*) => {
        $(
            #[doc = concat!("What `", stringify!($name), "` takes.")]
            #[derive(Debug, Clone, Copy)]
            pub(crate) struct $kernel<'a> { $(pub(crate) $field: $kind,)* }

            impl<'a> Kernel for $kernel<'a> {
                const NAME: &'static str = stringify!($name);
                #[cfg(test)]
                const PARAMETERS: &'static [(&'static str, &'static str)] =
                    &[$((<$kind as Parameter>::TYPE, stringify!($field)),)*];

                fn arguments(&self) -> Vec<Argument> {
                    vec![$(self.$field.argument(),)*]
                }
            }
        )*

        /// The names of all kernels, as [`Kernel::NAME`].
        #[cfg(feature = "cuda")]
        pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// Every kernel's name, and its arguments' types and names.
        #[cfg(test)]
        pub(super) const SIGNATURES: &[(&str, &[(&str, &str)])] = &[
            $((stringify!($name), <$kernel<'static> as Kernel>::PARAMETERS),)*
        ];
    };
}

kernels! {
    RmsNorm as rms_norm {
        x: Pointer<'a, f32>,
        weight: Pointer<'a, f32>,
        out: Pointer<'a, f32>,
        width: i32,
        eps: f32,
    }
    AddRmsNorm as add_rms_norm {
        x: Pointer<'a, f32>,
        added: Pointer<'a, f32>,
        weight: Pointer<'a, f32>,
        out: Pointer<'a, f32>,
        width: i32,
        eps: f32,
    }
    NormAndTurn as norm_and_turn {
        x: Pointer<'a, f32>,
        weight: Pointer<'a, f32>,
        cos: Pointer<'a, f32>,
        sin: Pointer<'a, f32>,
        heads: i32,
        half: i32,
        eps: f32,
    }
    Swiglu as swiglu {
        gate: Pointer<'a, f32>,
        up: Pointer<'a, f32>,
        len: i32,
    }
    AddBias as add_bias {
        x: Pointer<'a, f32>,
        bias: Pointer<'a, f32>,
        len: i32,
        width: i32,
    }
    ChooseExperts as choose_experts {
        logits: Pointer<'a, f32>,
        chosen: Pointer<'a, u32>,
        weights: Pointer<'a, f32>,
        experts: i32,
        used: i32,
        normalized: i32,
    }
    MixExperts as mix_experts {
        made: Pointer<'a, f32>,
        weights: Pointer<'a, f32>,
        out: Pointer<'a, f32>,
        used: i32,
        width: i32,
    }
    OpenGate as open_gate {
        x: Pointer<'a, f32>,
        gate: Pointer<'a, f32>,
        width: i32,
    }
    WritePages as write_pages {
        keys: Pointer<'a, f32>,
        values: Pointer<'a, f32>,
        slots: Pointer<'a, u32>,
        key_pages: Pointer<'a, Kept>,
        value_pages: Pointer<'a, Kept>,
        kv_heads: i32,
        dim: i32,
    }
    Attend as attend {
        q: Pointer<'a, f32>,
        keys: Pointer<'a, Kept>,
        values: Pointer<'a, Kept>,
        tables: Pointer<'a, u32>,
        items: Pointer<'a, u32>,
        out: Pointer<'a, f32>,
        parts: Pointer<'a, f32>,
        heads: i32,
        kv_heads: i32,
        scale: f32,
    }
    JoinParts as join_parts {
        parts: Pointer<'a, f32>,
        joins: Pointer<'a, u32>,
        out: Pointer<'a, f32>,
        heads: i32,
        kv_heads: i32,
        rows: i32,
        dim: i32,
    }
    LowRankShrink as low_rank_shrink {
        x: Pointer<'a, f32>,
        weights: Pointer<'a, f32>,
        deltas: Pointer<'a, u32>,
        tiles: Pointer<'a, u32>,
        rows: Pointer<'a, u32>,
        between: Pointer<'a, f32>,
        inputs: i32,
        stride: i32,
    }
    LowRankExpand as low_rank_expand {
        between: Pointer<'a, f32>,
        weights: Pointer<'a, f32>,
        deltas: Pointer<'a, u32>,
        tiles: Pointer<'a, u32>,
        rows: Pointer<'a, u32>,
        y: Pointer<'a, f32>,
        outputs: i32,
        stride: i32,
    }
    Likeliest as likeliest {
        logits: Pointer<'a, f32>,
        places: Pointer<'a, u32>,
        width: i32,
    }
}
