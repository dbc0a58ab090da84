"""VLT: vision-language transformer and query generation (Ding et al., ICCV 2021)."""
