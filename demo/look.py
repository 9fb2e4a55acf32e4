"""How the demo looks: one calm theme, light and dark, fonts that come with the page or the machine."""

import gradio as gr

DIFFERENCE_COLORS = {"added": "rgb(46, 139, 111)", "removed": "rgb(176, 100, 90)", "hint": "rgb(138, 143, 140)"}

_SERIF = "'Iowan Old Style', 'Palatino Linotype', Palatino, 'URW Palladio L', 'DejaVu Serif', Georgia, serif"
# Names only: Gradio would fetch a GoogleFont, and the bold of its own local font lacks most letters.
_FONT = ("Inter", "ui-sans-serif", "system-ui", "Segoe UI", "Helvetica Neue", "Arial", "sans-serif")


def theme() -> gr.themes.Base:
    """Warm paper and sage by day, slate by night."""
    base = gr.themes.Base(
        font=_FONT,
        font_mono=("ui-monospace", "Consolas", "monospace"),
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.stone,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_lg,
        spacing_size=gr.themes.sizes.spacing_lg,
        text_size=gr.themes.sizes.text_lg,
    )
    return base.set(
        body_background_fill="#f5f3ee",
        body_background_fill_dark="#15191a",
        body_text_color="#2b302e",
        body_text_color_dark="#e4e7e2",
        body_text_color_subdued="#5f6763",
        body_text_color_subdued_dark="#a3aca7",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1e2425",
        block_border_color="#e4e0d6",
        block_border_color_dark="#323b3c",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_text_color="#5f6763",
        block_label_text_color_dark="#a3aca7",
        block_label_border_width="0px",
        block_label_text_weight="600",
        input_background_fill="#fcfbf8",
        input_background_fill_dark="#191e1f",
        input_border_color="#d9d4c7",
        input_border_color_dark="#3b4546",
        input_border_color_focus="#3f8f80",
        input_border_color_focus_dark="#5bb3a2",
        button_primary_background_fill="#2a6f64",
        button_primary_background_fill_hover="#235d54",
        button_primary_background_fill_dark="#3f8f80",
        button_primary_background_fill_hover_dark="#4aa393",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#0d1413",
        button_secondary_background_fill="#ece8de",
        button_secondary_background_fill_hover="#e2ddd0",
        button_secondary_background_fill_dark="#2a3233",
        button_secondary_background_fill_hover_dark="#343d3e",
        button_cancel_background_fill="transparent",
        button_cancel_background_fill_hover="#f1e3df",
        button_cancel_background_fill_dark="transparent",
        button_cancel_background_fill_hover_dark="#3a2b29",
        button_cancel_text_color="#8c3f34",
        button_cancel_text_color_dark="#e3a398",
        button_cancel_border_color="#d8b5ae",
        button_cancel_border_color_dark="#6b4a45",
        slider_color="#3f8f80",
    )


# Gradio's highlighted spans carry their kind in an inline colour only, so the rules below find them by its first
# number (Gradio's own rewriting of style sheets breaks on a comma in a selector). Marks are told apart by more than
# colour: what was added is underlined, what was removed is struck through.
_ADDED, _REMOVED, _HINT = "(46", "(176", "(138"

CSS = f"""
.gradio-container {{ max-width: 1240px !important; margin: 0 auto !important; padding: 0 20px 48px !important; }}
footer {{ display: none !important; }}
button:focus-visible, textarea:focus-visible, input:focus-visible {{
  outline: 3px solid #5bb3a2 !important; outline-offset: 2px;
}}

#masthead h1 {{ font: 600 2.05rem/1.2 {_SERIF}; letter-spacing: -.01em; margin: 34px 0 8px; }}
#masthead p {{ font-size: 1.06rem; color: var(--body-text-color-subdued); margin: 0; max-width: 90ch; }}
.sheet h2, .about h3 {{ font: 600 1.2rem/1.3 {_SERIF}; margin: 0; padding-left: 2px; }}
.about {{ margin-top: 22px; gap: 28px !important; }}
.about h3 {{ margin-bottom: 10px; }}
.about .block {{ padding: 22px 26px !important; border-radius: 14px; }}
.about ul {{ list-style: none; padding: 0; margin: 0; }}
.about li {{ margin: 0 0 9px; padding: 0; line-height: 1.5; }}

#banner {{
  border-radius: 12px; padding: 11px 18px !important; background: #fbeccb; border: 1px solid #e7cf94 !important;
}}
#banner p {{ color: #5a430d; margin: 0; font-weight: 600; }}
.dark #banner {{ background: #3a301a; border-color: #665427 !important; }}
.dark #banner p {{ color: #f3dfae; }}
#private p, #or p {{ color: var(--body-text-color-subdued); font-size: .93rem; margin: 0; }}

.workspace {{ gap: 28px !important; margin-top: 6px; }}
.sheet {{ gap: 14px !important; }}
.sheet .block, .sheet .form {{ border-radius: 14px; }}
.sheet .form {{ border: 1px solid var(--block-border-color); }}
.buttons {{ flex-wrap: nowrap !important; }}
.buttons button, #improve {{ min-height: 48px; border-radius: 12px; font-size: 1.02rem; }}
.buttons #stop {{ flex: 0 0 110px; min-width: 96px; border: 1px solid var(--button-cancel-border-color); }}
#stop[disabled] {{ opacity: .4; }}
.chips {{ gap: 8px !important; }}
.chips button {{
  flex: 0 1 auto !important; min-width: 0 !important; border-radius: 999px; padding: 7px 15px; min-height: 40px;
}}

#status, #kept, #marks {{ border: 0 !important; background: transparent !important; }}
#status textarea, #kept input {{
  background: transparent !important; border: 0 !important; box-shadow: none !important; padding: 2px 0 !important;
  color: var(--body-text-color) !important; -webkit-text-fill-color: currentColor; opacity: 1; font-weight: 600;
}}
#status {{ margin-top: -8px; }}
#kept input {{ text-align: right; font-weight: 400; color: var(--body-text-color-subdued) !important; }}
.marks {{ align-items: center; }}

.paper {{ padding: 10px 8px 14px !important; }}
.paper > label {{ padding: 2px 14px 0 !important; }}
.paper > label span {{ display: none; }}
.paper .container {{ padding: 0 !important; }}
.paper .textfield {{
  display: block !important; padding: 6px 14px 6px !important; min-height: 92px;
  font-size: 0; line-height: 0; word-break: normal;
}}
.paper .text {{
  display: inline !important; font-size: 1.04rem; line-height: 1.62; white-space: pre-wrap; word-break: normal;
  overflow-wrap: anywhere; color: var(--body-text-color);
}}
.paper .token-container, .paper .token {{
  display: inline !important; padding: 0 !important; margin: 0 !important; background: none !important;
}}
.paper .line-break {{ display: block; min-height: .55rem; }}
.paper .token[style*="{_HINT}"] .text {{ color: var(--body-text-color-subdued); font-style: italic; }}
.paper .token[style*="{_ADDED}"] .text {{
  background: #e3f2ea; border-radius: 3px; color: #15523f;
  text-decoration: underline; text-decoration-color: #7dbba3; text-underline-offset: 4px;
}}
.paper .token[style*="{_REMOVED}"] .text {{
  background: #f9ebe8; border-radius: 3px; color: #8a4a40; text-decoration: line-through;
}}
.dark .paper .token[style*="{_ADDED}"] .text {{ background: #1d3a31; color: #a9dec8; text-decoration-color: #4c8a74; }}
.dark .paper .token[style*="{_REMOVED}"] .text {{ background: #3c2724; color: #dba79e; }}

@media (max-width: 720px) {{
  .gradio-container {{ padding: 0 12px 32px !important; }}
  #masthead h1 {{ font-size: 1.6rem; margin-top: 20px; }}
  .buttons {{ gap: 10px !important; }}
  .buttons button {{ min-width: 0 !important; }}
  .marks {{ flex-direction: column; align-items: stretch; gap: 0 !important; }}
  #kept input {{ text-align: left; padding-left: 12px !important; }}
  .about .block {{ padding: 16px 18px !important; }}
  .workspace, .about {{ flex-direction: column; gap: 18px !important; }}
}}
"""
