"""Adapter files: what each format stores, and its translation to and from `Adapter`.

| source      | written by      | files                                          | rotation                          |
| ----------- | --------------- | ---------------------------------------------- | --------------------------------- |
| `peft`      | PEFT >= 0.18    | adapter_config.json, adapter_model.safetensors | packed, of the input              |
| `peft-0.17` | PEFT 0.16, 0.17 | the same, no (or an older) `peft_version`      | packed, another Neumann series    |
| `peft-v1`   | PEFT 0.14, 0.15 | the same, keys `oft_r` and `oft_s`             | free matrices and an output scale |
| `native`    | this package    | oft_config.json, adapter_model.safetensors     | packed, all parameterizations     |
| `lycoris`   | LyCORIS, kohya  | one .safetensors, keys `oft_blocks`            | free matrices, of the *output*    |

The first four become an `Adapter`; the last rotates the other side of the weight and only merges into it.
"""
