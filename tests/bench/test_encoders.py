"""The benchmark of the encoders prints its table."""

from __future__ import annotations

import re
import sys

import torch

from bench import encoders


def test_a_row_per_encoder_with_its_size_and_its_times(monkeypatch, capsys):
    threads = torch.get_num_threads()
    arguments = ["--only", "compact", "--batch", "2", "--repeat", "1", "--threads", str(threads)]
    monkeypatch.setattr(sys, "argv", ["encoders.py", *arguments])
    encoders.main()
    table = capsys.readouterr().out
    row = r"^\| compact \| [\d.]+ M \| 256 \| (\d+\.\d\d) \| (\d+\.\d) \|$"
    (times,) = re.findall(row, table, re.MULTILINE)
    assert min(map(float, times)) > 0
    assert f"{threads} CPU threads, fastest of 1 runs" in table
