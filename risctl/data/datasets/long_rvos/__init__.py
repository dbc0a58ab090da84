"""Long-RVOS: long videos with static, dynamic and hybrid expressions."""
