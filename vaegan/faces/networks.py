"""The two networks of our own face tracker: where faces are in a picture, and the mesh of one face.

Both see RGB in [0, 1] and use plain 3 x 3 convolutions: at these sizes depthwise ones save multiplications but not
time on a CPU. The detector follows CenterNet (Zhou et al. 2019, "Objects as Points"): a heat map of face centres, and
at each centre the box. The landmarker regresses a code of a linear mesh model and a similarity transform; then it looks
again at eyes and mouth where that mesh has them, as the attention mesh does (Grishchenko et al. 2020).
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

POINTS, BLENDSHAPES = 478, 52


class _Conv(nn.Sequential):
    """3 x 3 convolution, batch normalisation, ReLU."""

    def __init__(self, channels: int, width: int, stride: int = 1, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )


class _Residual(nn.Module):
    """Two 3 x 3 convolutions around which the input is added (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _Conv(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


def _stage(channels: int, width: int, blocks: int) -> nn.Sequential:
    """Half the resolution, then `blocks` residual blocks."""
    return nn.Sequential(_Conv(channels, width, stride=2), *[_Residual(width) for _ in range(blocks)])


class FaceLandmarker(nn.Module):
    """A face crop to its mesh, whether there is a face at all, and its expression.

    Args:
        size: px of the square crop; each stage halves it.
        widths, blocks: channels and residual blocks of each stage.
        features: width of the vector that all heads read.
        components: length of the mesh code.
        roi_scale: side of the crop / side of the mesh box in the face's usual place.
        patch: px of the squares in which each eye and the mouth are looked at again; divisible by 8.
        patch_widths: channels of the four layers that do so; all but the third halve the square.
        patch_features: numbers that each of the three squares adds.

    The mesh model (`mesh_mean`, `mesh_basis`) is data, set once from the labels by `set_mesh_model`.
    """

    PATCHES = (((33, 133), 0.44, True), ((362, 263), 0.44, False), ((61, 291), 0.56, False))
    """Right eye with its brow, left eye, mouth: the points in whose middle the square lies, its side / side of the mesh
    box, and whether it is mirrored: one network sees both eyes, the nose on the same side."""

    def __init__(
        self,
        size: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        features: int,
        components: int,
        roi_scale: float,
        patch: int,
        patch_widths: Sequence[int],
        patch_features: int,
    ) -> None:
        super().__init__()
        self.size, self.components, self.roi_scale, self.patch = size, components, roi_scale, patch
        channels = [3, *widths]
        self.trunk = nn.Sequential(
            *[_stage(channels[i], w, b) for i, (w, b) in enumerate(zip(widths, blocks, strict=True))]
        )
        cells = (size // 2 ** len(widths)) ** 2
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * cells, features), nn.ReLU(inplace=True))
        self.shape = nn.Linear(features, components + 4)  # code, shift x and y, log scale, roll
        self.presence = nn.Linear(features, 1)
        self.eye, self.mouth = (_patch_network(patch, patch_widths, patch_features) for _ in range(2))
        features += 3 * patch_features
        self.refinement = nn.Linear(features, components + 4)
        self.expression = nn.Sequential(
            nn.Linear(features + components, features // 2),
            nn.ReLU(inplace=True),
            nn.Linear(features // 2, BLENDSHAPES),
        )
        points, sides, mirrored = zip(*self.PATCHES, strict=True)
        sides = torch.tensor([[-side if turned else side, side] for side, turned in zip(sides, mirrored, strict=True)])
        steps = (torch.arange(patch) * 2 + 1) / patch - 1
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        self.register_buffer("patch_points", torch.tensor(points), persistent=False)
        self.register_buffer("patch_sides", sides[:, :, None], persistent=False)
        self.register_buffer("patch_grid", torch.stack([x, y, torch.ones_like(x)], 2).view(-1, 3), persistent=False)
        self.register_buffer("mesh_mean", torch.zeros(POINTS * 3))
        self.register_buffer("mesh_basis", torch.zeros(components, POINTS * 3))
        nn.init.constant_(self.expression[-1].bias, -2.5)  # most blendshapes are near zero
        for layer in (self.shape, self.refinement):
            nn.init.normal_(layer.weight, std=1e-3)
            nn.init.zeros_(layer.bias)

    def set_mesh_model(self, mean: Tensor, basis: Tensor) -> None:
        """Mean (1434,) and basis (components, 1434) of upright meshes, in sides of the mesh box around its centre;
        the basis is scaled so that codes have unit variance."""
        self.mesh_mean.copy_(mean)
        self.mesh_basis.copy_(basis)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """crops: float (N, 3, size, size) in [0, 1].

        Returns the mesh (N, 478, 3) in sides of the crop from its top left corner (z likewise scaled, no origin), the
        logit (N,) that a face is there, and the logits (N, 52) of the blendshapes.
        """
        return self.look(crops)[1:]

    def look(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `forward`, and before the rest the mesh (N, 478, 3) of the first look, from the whole crop alone."""
        features = self.features(self.trunk(crops * 2 - 1))
        shape = self.shape(features)
        first = self.mesh(shape)
        seen = torch.cat([features, self._again(crops, first.detach(), shape.detach())], 1)
        shape = shape + self.refinement(seen)
        blendshapes = self.expression(torch.cat([seen, shape[:, : self.components]], 1))
        return first, self.mesh(shape), self.presence(features)[:, 0], blendshapes

    def _again(self, crops: Tensor, mesh: Tensor, shape: Tensor) -> Tensor:
        """What eyes and mouth (N, 3 * patch_features) show, cut from the crops where the mesh has them."""
        n, px, count = len(crops), self.patch, len(self.PATCHES)
        with torch.autocast(crops.device.type, enabled=False):
            _, along, across, _ = self._place(shape)
            centres = mesh[:, self.patch_points, :2].mean(2)
            axes = torch.stack([along, across], 1)[:, None] * self.patch_sides
            places = torch.cat([axes, 2 * centres[:, :, None] - 1], 2)  # (N, patches, 3, 2): affine maps
            grid = (self.patch_grid @ places).view(n, count * px, px, 2)
            patches = nn.functional.grid_sample(crops, grid, "bilinear", "border", False)
        patches = patches.view(n, 3, count, px, px).permute(2, 0, 3, 4, 1).contiguous().permute(0, 1, 4, 2, 3) * 2 - 1
        eyes = self.eye(patches[:2].flatten(0, 1))
        return torch.cat([eyes[:n], eyes[n:], self.mouth(patches[2])], 1)

    def _place(self, shape: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scale (N,) of the mesh in sides of the crop, its axes times that scale (N, 2) each, its middle (N, 2)."""
        pose = shape[:, self.components :].float()
        scale = pose[:, 2].clamp(-2, 2).exp() / self.roi_scale
        c, s = scale * pose[:, 3].cos(), scale * pose[:, 3].sin()
        return scale, torch.stack([c, s], 1), torch.stack([-s, c], 1), pose[:, :2] + 0.5

    def mesh(self, shape: Tensor) -> Tensor:
        """Code and similarity (N, components + 4) to the mesh (N, 478, 3) in sides of the crop, in float32."""
        with torch.autocast(shape.device.type, enabled=False):
            code = shape[:, : self.components].float()
            upright = torch.addmm(self.mesh_mean, code, self.mesh_basis).view(-1, POINTS, 3)
            scale, along, across, middle = self._place(shape)
            zero = torch.zeros_like(scale)
            turn = torch.cat([along, zero[:, None], across, zero[:, None], torch.stack([zero, zero, scale], 1)], 1)
            shift = torch.cat([middle, zero[:, None]], 1)
            return torch.baddbmm(shift[:, None], upright, turn.view(-1, 3, 3))


def _patch_network(size: int, widths: Sequence[int], features: int) -> nn.Sequential:
    """A square of size px (N, 3, size, size) in [-1, 1] to (N, features)."""
    layers = zip([3, *widths[:-1]], widths, (2, 2, 1, 2), strict=True)
    return nn.Sequential(
        *[_Conv(channels, width, stride) for channels, width, stride in layers],
        nn.Flatten(),
        nn.Linear(widths[-1] * (size // 8) ** 2, features),
        nn.ReLU(inplace=True),
    )


class FaceDetector(nn.Module):
    """A whole picture to the centres, sides and rolls of its faces, at a stride of 8 px.

    Args:
        widths, blocks: channels and residual blocks of the stages at strides 2, 4, 8, 16 and 32.
        head: channels of the map at stride 8 that the outputs are read from.

    Any height and width divisible by 32 will do.
    """

    stride = 8

    def __init__(self, widths: Sequence[int], blocks: Sequence[int], head: int) -> None:
        super().__init__()
        channels = [3, *widths]
        stages = [_stage(channels[i], w, b) for i, (w, b) in enumerate(zip(widths, blocks, strict=True))]
        self.down8 = nn.Sequential(*stages[:3])
        self.down16, self.down32 = stages[3:]
        self.from32 = _Conv(widths[4], widths[3], kernel=1)
        self.from16 = _Conv(widths[3], head, kernel=1)
        self.from8 = _Conv(widths[2], head, kernel=1)
        self.merge16, self.merge8 = _Conv(widths[3], widths[3]), _Conv(head, head)
        self.outputs = nn.Conv2d(head, 6, 1)
        nn.init.constant_(self.outputs.bias, 0.0)
        nn.init.constant_(self.outputs.bias[:1], -4.6)  # faces are rare: start at a probability of .01

    def forward(self, images: Tensor) -> Tensor:
        """images: float (N, 3, H, W) in [0, 1] -> maps (N, 6, H/8, W/8).

        Channels: logit of a face's centre in the cell; the centre's x and y in cells from the cell's centre; log of
        the side in cells; sine and cosine of the roll.
        """
        at8 = self.down8(images * 2 - 1)
        at16 = self.down16(at8)
        at32 = self.down32(at16)
        at16 = self.merge16(at16 + _double(self.from32(at32)))
        return self.outputs(self.merge8(self.from8(at8) + _double(self.from16(at16))))


def _double(x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


def fold_batch_norms(module: nn.Module) -> None:
    """Multiply each batch normalisation of a trained network into its convolution, in place; the results stay."""
    for child in module.children():
        if isinstance(child, nn.Sequential) and len(child) > 1 and isinstance(child[1], nn.BatchNorm2d):
            child[0] = fuse_conv_bn_eval(child[0], child[1])
            child[1] = nn.Identity()
        else:
            fold_batch_norms(child)


def with_fused_activations(net: nn.Module, example: Tensor) -> nn.Module:
    """A copy of a network in which oneDNN does each convolution together with what follows it (ReLU; the sum of a
    residual block), its weights laid out for that once. For a single picture, where torch itself takes a general path,
    this is a fifth faster; the results are the same.

    Args:
        net: in evaluation mode, in float32 on a CPU, without batch normalisations.
        example: an input of the size for which the weights are laid out; others will do too.

    Returns the network itself where torch was built without oneDNN, or does not offer this.
    """
    sizes: dict[nn.Module, list[int]] = {}
    fused = copy.deepcopy(net)
    hooks = [
        conv.register_forward_pre_hook(lambda conv, inputs: sizes.update({conv: list(inputs[0].shape)}))
        for conv in fused.modules()
        if isinstance(conv, nn.Conv2d)
    ]
    with torch.inference_mode():
        fused(example)
        for hook in hooks:
            hook.remove()
        try:
            _fuse(fused, sizes)
            fused(example)
        except (AttributeError, NotImplementedError, RuntimeError):
            return net
    return fused


def _fuse(module: nn.Module, sizes: dict[nn.Module, list[int]]) -> None:
    for name, child in module.named_children():
        if isinstance(child, _Conv):
            setattr(module, name, _Fused(child[0], sizes))
        elif isinstance(child, _Residual):
            setattr(module, name, _FusedResidual(child, sizes))
        else:
            _fuse(child, sizes)


class _Fused(nn.Module):
    """A convolution of oneDNN and a ReLU."""

    def __init__(self, conv: nn.Conv2d, sizes: dict[nn.Module, list[int]]) -> None:
        super().__init__()
        self.shape = (conv.padding, conv.stride, conv.dilation, conv.groups)
        weight = torch.ops.mkldnn._reorder_convolution_weight(conv.weight.detach(), *self.shape, sizes[conv])
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", conv.bias.detach(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise(x, self.weight, self.bias, *self.shape, "relu", [], "")


class _FusedResidual(_Fused):
    """A residual block: the sum and its ReLU belong to the second convolution."""

    def __init__(self, block: _Residual, sizes: dict[nn.Module, list[int]]) -> None:
        super().__init__(block.second[0], sizes)
        self.first = _Fused(block.first[0], sizes)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise.binary(
            self.first(x), x, self.weight, self.bias, *self.shape, "add", 1.0, "relu", [], ""
        )
