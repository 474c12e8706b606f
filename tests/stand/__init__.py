# SPDX-License-Identifier: Apache-2.0
"""The stand: real servers on loopback and a card to test, each as a small object.

Nothing here asserts what remora should do; tests do. Every object stops what it started.
"""
