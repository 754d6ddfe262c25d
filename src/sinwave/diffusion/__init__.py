"""The theory of diffusion in three sentences: `process` adds noise, `denoise` estimates, `sample` walks back."""
