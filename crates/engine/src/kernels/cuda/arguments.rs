//! The arguments of each kernel: a struct per kernel, with a field per argument, in the order and
//! with the names of its .cu file. Arguments are put in order only here, and a test compares this
//! list with the sources, since the driver does not check types: an argument in the wrong place
//! would be misread silently.

use std::marker::PhantomData;

/// A pointer argument, valid as long as the numbers are borrowed. On a device it is an address; in
/// tests it is the index of a buffer.
#[derive(Debug)]
pub(crate) struct Pointer<'a, T>(u64, PhantomData<&'a T>);

impl<T> Pointer<'_, T> {
    /// The null pointer.
    pub(crate) const NULL: Self = Self(0, PhantomData);

    /// A pointer to numbers at this address, which must outlive it.
    pub(crate) fn new(address: u64) -> Self {
        Self(address, PhantomData)
    }

    /// The address or index.
    #[cfg(test)]
    pub(super) fn address(self) -> u64 {
        self.0
    }
}

#[cfg(feature = "cuda")]
impl<'a> Pointer<'a, u8> {
    /// Reinterprets a pointer to a page's bytes as one to its numbers.
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

/// The number type of pages, for which a kernel is compiled: f32 or f16. Only a marker for
/// [`Pointer`].
#[derive(Debug)]
pub(crate) enum Kept {}

/// A kernel argument in the form that the driver takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Argument {
    /// A device address of 64 bits.
    Pointer(u64),
    /// An `int`.
    Int(i32),
    /// A `float`.
    Float(f32),
}

/// A Rust type of kernel arguments.
pub(crate) trait Parameter {
    /// Its C++ type in the sources, without `const`.
    #[cfg(test)]
    const TYPE: &'static str;

    /// Converts the value for the driver.
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

/// A kernel with its arguments.
pub(crate) trait Kernel {
    /// Its name in the sources. In the module, kernels for several types or sizes have a suffix.
    const NAME: &'static str;

    /// Its arguments' types and names, in order.
    #[cfg(test)]
    const PARAMETERS: &'static [(&'static str, &'static str)];

    /// Returns its arguments, in order.
    fn arguments(&self) -> Vec<Argument>;
}

macro_rules! kernels {
    ($($kernel:ident as $name:ident { $($field:ident: $kind:ty,)* })*) => {
        $(
            #[doc = concat!("The arguments of `", stringify!($name), "`.")]
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

        /// Every kernel's name with its arguments' types and names.
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
    Argmax as likeliest {
        logits: Pointer<'a, f32>,
        places: Pointer<'a, u32>,
        width: i32,
    }
}
