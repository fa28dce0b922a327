//! What is seen on an image: its sizes, and marks in its pixels.

/// An image of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// Width and height as the client sent it, turned upright, in pixels.
    pub size: (u32, u32),
    /// Width and height as the model saw it, in pixels.
    pub seen: (u32, u32),
}

/// Something on an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// The index of the image in the prompt.
    pub picture: usize,
    /// Where it is.
    pub shape: Shape,
    /// What it is.
    pub label: Option<String>,
}

/// A shape in pixels of the image that the client sent: within it, with corners in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Left, top, right and bottom.
    Box([f64; 4]),
    /// x and y.
    Point([f64; 2]),
    /// The corners.
    Polygon(Vec<[f64; 2]>),
    /// From where to where something is moved.
    Arrow([[f64; 2]; 2]),
}
