// The texts of the page that are not in index.html: all Chinese texts, and the sentences that the
// scripts compose. {name} stands for a value.

// The Chinese for the elements of index.html with this data-text.
export const CHINESE = {
  title: "为什么数字写在边上，网络就认错？",
  task: "先在中间写一个数字，再把它移到边上，比较网络的回答。然后打开“看看里面”，找出原因。",
  language: "语言",
  frame: "MNIST 的数字与这个框一样大",
  paper: "书写区：在这里写一个数字",
  undo: "撤销",
  clear: "清除",
  move: "移动",
  edge: "试试边上",
  middle: "移回中间",
  "choose-photo": "照片",
  examples: "也可以把图片拖到本页，或者粘贴进来，或者试试这些照片：",
  "example-pen": "用笔写在白纸上",
  "example-chalk": "用粉笔写在黑板上",
  "example-squared": "写在方格纸上，有影子",
  hint: "可以用鼠标、触控笔或手指书写，按 <kbd>Esc</kbd> 清除，按 <kbd>Ctrl</kbd>+<kbd>Z</kbd> 撤销。也可以用键盘：选中书写区，用方向键移动笔尖（同时按两个键可走斜线），按<kbd>空格</kbd>落笔或抬笔；按住 <kbd>Shift</kbd> 再按方向键，可移动写好的数字。",
  own: "你写的是几？",
  "own-undo": "撤回上一个数字",
  "run-left": "你的网络",
  "run-right": "用来对比的网络",
  "as-drawn": "原样",
  "as-drawn-why": "把你写的数字缩小到 28×28 像素，这就是网络看到的图像。",
  centred: "居中",
  "centred-why": "同样的笔画，缩放到 MNIST 数字的大小，重心移到正中。",
  tally: "你自己写的数字",
  "tally-why": "你保存的数字，每个网络认对了多少个。",
  "tally-test": "测试集",
  "look-inside": "看看里面",
  "look-inside-why": "为什么是这个回答？",
  "which-network": "网络",
  "inside-empty": "写一个数字，就能看到每一层做了什么。",
  similar: "网络以前见过什么",
  "similar-why":
    "这里是训练集中与每张图最相似的六张图像。网络只学过训练集中的图像。如果没有一张与这张图相似，它的回答就只是猜测，而且猜错时也可能同样自信。",
  "shift-title": "越不相似，越容易认错",
  "shift-x": "最相似图像的相似度",
  "shift-y": "准确率",
  "shift-points":
    "把 MNIST 测试集的图像向右移动 0、2、4、6、8 个像素：相似度依次为 90%、79%、66%、55%、45%；准确率依次为 98%、87%、45%、18%、11%。",
  "shift-what":
    "这条曲线用的是一次默认训练（测试准确率 98%），不是这里所选的训练：MNIST 测试集的图像向右移动了 0～8 个像素（px）。两条红线是你的两张图。",
  "similar-middle":
    "训练集中的数字都在正中，大小与书写区的框差不多：网络从来没有见过写在边上的数字，也没有见过小得多的数字。",
  "similar-placed":
    "你写的数字，位置和大小都与训练集中的差不多。如果网络认错了，可能是写法不同：在 MNIST 中，1 几乎都只写一竖，7 很少在中间加一横，9 很少带弯钩。",
  "which-view": "下面各层的输入图像",
  conv: "卷积层：卷积核找到了什么",
  "conv-why":
    "每个卷积核在图像上滑动，在每个位置把 5×5 个像素乘以自己的权重，再把乘积相加。ReLU 把负数变成 0。然后池化在每 2×2 个数中保留最大的一个。",
  weights: "权重",
  maps: "特征图",
  "conv-hint":
    "点击一个卷积核，看它的特征图中每个数是怎样算出来的。淡淡的底色来自偏置：没有墨迹的地方，总和就只有偏置。",
  "sum-close": "× 关闭",
  "sum-hint": "这是一个位置的计算过程。要看其他位置，在下面的图上移动鼠标或点击，也可按方向键。",
  "sum-picture": "图像",
  "sum-map": "ReLU 之后",
  "sum-pooled": "池化之后",
  "sum-pixels": "25 个像素",
  "sum-weights": "25 个权重",
  "sum-products": "25 个乘积",
  "sum-of-products": "乘积之和",
  "plus-bias": "+ 偏置",
  "sum-total": "= 总和",
  "sum-relu": "ReLU 之后（总和为负时变为 0）",
  "sum-pooling": "池化保留这四个数中最大的一个。",
  "sum-rounded": "斜线处在图像之外，像素按 0 计算。所有数都四舍五入到三位小数。",
  hidden: "第一个全连接层：神经元的输出",
  "hidden-why":
    "每个神经元把上一层的每个数乘以一个权重，再把乘积相加。ReLU 把负数变成 0。输出越大，圆点的颜色越深。",
  "hidden-middle":
    "数字移动时，它在特征图中也跟着移动，因为卷积核在各处的权重相同。但是这些神经元对每张特征图的每个位置各有一个权重。训练时，边上位置的权重几乎没有遇到过墨迹：神经元没有学过那里的笔画意味着什么。",
  votes: "只有一层：每个像素都投票",
  "votes-why":
    "对每个数字，这个网络给每个像素一个权重。权重乘以像素的墨迹深浅就是一票，赞成或反对这个数字。所有的票与一个偏置相加，就是这个数字的 logit。",
  "votes-pick": "为什么不是……？",
  "votes-map": "权重 × 墨迹",
  "votes-for": "赞成票",
  "votes-against": "+ 反对票",
  "votes-logit": "= logit",
  logits: "十个 logit，以及 softmax 的结果",
  "logits-why":
    "logit 越大，网络越倾向于这个数字。重要的只是它们之间的差：十个也可能全是负数。softmax 把它们换算成概率，概率最大的数字就是回答。",
  digit: "数字",
  unlike: "这不像网络学过的任何数字。",
};

// The sentences that the scripts compose.
export const SENTENCES = {
  comma: {en: ", ", zh: "，"},
  space: {en: " ", zh: ""}, // between two sentences
  colon: {en: "{what}: {value}", zh: "{what}：{value}"},

  convolutional: {en: "Convolutional", zh: "卷积网络"},
  softmax: {en: "Softmax regression", zh: "softmax 回归"},
  "follow-left": {en: "Newest: {run}", zh: "最新：{run}"},
  "follow-right": {en: "Softmax: {run}", zh: "softmax：{run}"},
  "run-option": {en: "{run} ({facts})", zh: "{run}（{facts}）"},
  "run-rate": {en: "learning rate {rate}", zh: "学习率 {rate}"},
  "run-steps": {en: "{steps} steps", zh: "{steps} 步"},
  "run-shift": {en: "shift {shift}", zh: "平移 {shift}"},
  "run-own": {en: "{count} own digits in each batch", zh: "每批有 {count} 张是你写的"},
  "run-learning": {
    en: "In training: step {step} of {epochs}.",
    zh: "正在训练：第 {step} 步，共 {epochs} 步。",
  },
  "run-at": {en: "Step {step} of {epochs}.", zh: "第 {step} 步，共 {epochs} 步。"},
  "run-moved": {
    en: "Trained on digits moved by up to {shift} pixels.",
    zh: "训练时数字最多移动 {shift} 个像素。",
  },
  "run-learned-own": {
    en: "Also trained on digits of your own.",
    zh: "训练时也用了你自己写的数字。",
  },
  "run-reads": {
    en: "Reads {accuracy} of {images} test digits correctly ({data}).",
    zh: "在测试集（{data}）的 {images} 张图像上，准确率为 {accuracy}。",
  },
  "run-untested": {en: "Not tested yet.", zh: "还没有测试过。"},
  "no-run": {
    en: "There is no such run yet: run “python mnist.py”.",
    zh: "还没有这样的训练：请运行“python mnist.py”。",
  },
  "run-deleted": {
    en: "The run {run} does not exist any more. The page shows {instead} instead.",
    zh: "训练 {run} 的记录已经不在了，改为显示 {instead}。",
  },
  "old-runs": {
    en: "Only TensorBoard shows runs that an earlier version of mnist.py trained (here: {count}). To use such a network here, train it again.",
    zh: "旧版本的 mnist.py 训练的网络（{count} 个）只能在 TensorBoard 中查看。要在这里使用，请重新训练。",
  },
  "data-generated": {en: "generated digits, not MNIST", zh: "程序自己画的数字，不是 MNIST"},
  "data-files": {en: "the files in {folder}", zh: "{folder} 中的文件"},
  weak: {
    en: "This network reads only {accuracy} of the test digits correctly: do not trust it.",
    zh: "这个网络的测试准确率只有 {accuracy}，它的回答不可信。",
  },
  best: {en: "Use the best run ({accuracy})", zh: "换成准确率最高的一次（{accuracy}）"},

  "card-left": {en: "Yours: {network}", zh: "你的：{network}"},
  "card-right": {en: "Compared: {network}", zh: "对比：{network}"},
  nothing: {en: "nothing drawn", zh: "还没有写"},
  empty: {en: "The paper is empty.", zh: "还没有写任何内容。"},
  spoken: {en: "{view}: {network} {digit}.", zh: "{view}，{network}，回答 {digit}。"},

  "photo-plain": {en: "As it is", zh: "原图"},
  "photo-plain-why": {
    en: "The whole photo, reduced to 28×28 pixels, and inverted if its ink is dark: what people try first.",
    zh: "整张照片缩小到 28×28 像素，墨迹比纸深就反色：人们通常先这样试。",
  },
  "photo-prepared": {en: "Prepared", zh: "处理后"},
  "photo-prepared-why": {
    en: "Only the ink of the digit, without the paper, scaled and centred like MNIST’s digits.",
    zh: "去掉纸，只留下数字的墨迹，像 MNIST 的数字一样缩放并居中。",
  },
  "photo-inverted": {
    en: "The ink is darker than the paper. MNIST stores ink as large numbers, so the photo was inverted.",
    zh: "照片的墨迹比纸深，而 MNIST 用大的数表示墨迹，所以反了色。",
  },
  "photo-light": {
    en: "The ink is lighter than the paper: it has the larger numbers, as in MNIST, so the photo was not inverted.",
    zh: "照片的墨迹比纸浅，数值更大，与 MNIST 一样，所以没有反色。",
  },
  "photo-digits": {
    en: "There are several digits or marks: the networks read the largest, in the frame.",
    zh: "照片中不止一个数字或记号：网络识别的是最大的那个，已用框标出。",
  },
  "not-a-photo": {
    en: "The file is not a picture that the page can read: save it as PNG, JPEG or WebP.",
    zh: "本页无法读取这个文件：请存成 PNG、JPEG 或 WebP 图片。",
  },
  "too-large-photo": {
    en: "A picture may have 20 MB at most: make it smaller.",
    zh: "图片不能超过 20 MB：请把它缩小。",
  },

  "own-kept": {
    en: "Draw a digit, then press its button or its key: the page keeps your drawing in own_digits/. Kept so far: {count}.",
    zh: "先写一个数字，再按它的按钮或数字键，页面就会把它保存在 own_digits/ 中。已保存 {count} 张。",
  },
  "own-kept-as": {
    en: "Kept as a {digit}. Kept so far: {count}.",
    zh: "已存为数字 {digit}。已保存 {count} 张。",
  },
  "own-empty": {
    en: "The paper is empty: draw the digit first, then press its button.",
    zh: "还没有写：先写数字，再按它的按钮。",
  },
  "own-task": {
    en: "Draw the digit {digit} ({place} of 30).",
    zh: "请写数字 {digit}（第 {place} 个，共 30 个）。",
  },
  "own-finished": {
    en: "There are {aim} of each digit now (kept so far: {count}). Train a network with them: “{command}”.",
    zh: "每个数字都有 {aim} 张了（已保存 {count} 张）。现在用它们训练一个网络：“{command}”。",
  },
  "own-round": {en: "Draw 30 digits", zh: "写 30 个数字"},
  "own-stop": {en: "Stop", zh: "停止"},
  "tally-share": {en: "{right} of {count} ({share})", zh: "{right} / {count}（{share}）"},
  "tally-test-share": {
    en: "{share} of {count} ({data})",
    zh: "{share}（{data}，{count} 张）",
  },
  "tally-trained": {
    en: "Not counted, because a network shown here was trained on them: {count}.",
    zh: "有 {count} 个数字，这里的网络训练时用过，所以不计入。",
  },
  "tally-added": {
    en: "Not drawn on this page, counted only as centred: {count}.",
    zh: "有 {count} 个数字不是在本页写的，只计入“居中”。",
  },
  "edge-seven": {en: "The drawing is a 7.", zh: "写的是 7。"},
  "edge-compared": {
    en: "The network trained on digits moved by up to {shift} pixels answers {learned}. The network trained on digits that were not moved answers {other}.",
    zh: "用移动过的数字（最多 {shift} 个像素）训练的网络回答 {learned}，用未移动过的数字训练的网络回答 {other}。",
  },
  "edge-choose": {
    en: "Can a network learn the edge? Compare with {run}: it was trained on moved digits.",
    zh: "网络能学会识别边上的数字吗？请选择 {run} 来比较：它是用移动过的数字训练的。",
  },
  "edge-train": {
    en: "Can a network learn the edge? Train one on moved digits:\n“python mnist.py --learning_rate=0.001 --shift=8”.",
    zh: "网络能学会识别边上的数字吗？请用移动过的数字训练一个：\n“python mnist.py --learning_rate=0.001 --shift=8”。",
  },

  "other-layers": {
    en: "Some layers of this network are not those of the original mnist.py (a ReLU is missing or has another name). They are not shown.",
    zh: "这个网络有的层与原来的 mnist.py 不同（少了 ReLU，或者 ReLU 换了名字），所以不显示这些层。",
  },
  dead: {
    en: "This network is dead: one of its layers is 0 whatever you draw, so every drawing gets the same answer.",
    zh: "这个网络已经“死亡”：无论写什么，总有一层的输出全部为 0，所以它的回答永远相同。",
  },
  "similar-usual": {
    en: "For a test digit, the most similar training digit is usually {usual} similar. For the first picture it is {drawn}, for the second {centred}.",
    zh: "测试集的图像与训练集中最像它的那张，相似度通常是 {usual}。这里的第一张图是 {drawn}，第二张是 {centred}。",
  },
  "similar-moved": {
    en: "This network was trained on digits moved by up to {shift} pixels. Each digit is shown at the place where it is most similar to the picture.",
    zh: "训练这个网络时，数字最多移动了 {shift} 个像素。每张训练图像都显示在与这张图最相似的位置。",
  },
  "similar-own": {en: "yours", zh: "你写的"},
  "similar-one": {en: "a {label}, {likeness} similar", zh: "数字 {label}，相似度 {likeness}"},
  "kernel-says": {
    en: "Kernel {kernel}: the largest number is {value}, at row {row}, column {column}; {places} of 784 are above 0",
    zh: "卷积核 {kernel}：最大的数是 {value}，在第 {row} 行第 {column} 列；784 个数中有 {places} 个大于 0",
  },
  "kernel-silent": {en: "Kernel {kernel}: 0 everywhere", zh: "卷积核 {kernel}：处处为 0"},
  "sum-place": {en: "Row {row}, column {column}", zh: "第 {row} 行第 {column} 列"},
  "hidden-says": {
    en: "Of {neurons} neurons with {inputs} weights each, {active} are above 0 for this picture and {silent} are 0.",
    zh: "共 {neurons} 个神经元，每个有 {inputs} 个权重。对这张图，{active} 个的输出大于 0，{silent} 个为 0。",
  },
  "hidden-strongest": {
    en: "The largest is neuron {neuron}, with {value}.",
    zh: "输出最大的是神经元 {neuron}，为 {value}。",
  },
  "hidden-dead": {
    en: "Dead neurons (×), which are 0 for each of {tried} training digits: {dead}.",
    zh: "“死亡”的神经元（×，对训练集的 {tried} 张图像都输出 0）：{dead} 个。",
  },
  "votes-answer": {en: "The answer: {digit}", zh: "回答：{digit}"},
  "votes-other": {en: "Why not a {digit}?", zh: "为什么不是 {digit}？"},

  "server-gone": {
    en: "The server does not answer. Start “python draw.py” again: your drawing stays, and the page continues by itself.",
    zh: "服务器没有响应。请重新运行“python draw.py”：你写的内容还在，页面会自动继续。",
  },
  redirected: {
    en: "The server sends this page elsewhere, perhaps to log in: reload the page.",
    zh: "服务器把请求转到了别的地址，可能需要登录：请刷新页面。",
  },
  "answered-between": {
    en: "Something between this page and draw.py, such as a proxy, answers in its place (status {status}). Start “python draw.py” again if it has ended, and reload the page if you have to log in.",
    zh: "在网页和 draw.py 之间，有别的程序（例如代理）代替 draw.py 作了响应（状态码 {status}）。如果 draw.py 已经结束，请重新运行“python draw.py”；如果需要登录，请刷新页面。",
  },
};

export let language = "en"; // the value of <html lang>: "en" or "zh-CN"

// Show the texts of index.html in the chosen language, or else in the browser's.
export function speakLanguage(chosen) {
  const languages = [chosen, ...navigator.languages].map((tag) => tag?.slice(0, 2));
  language = languages.find((tag) => ["en", "zh"].includes(tag)) === "zh" ? "zh-CN" : "en";
  document.documentElement.lang = language;
  for (const part of document.querySelectorAll("[data-text]")) {
    part.dataset.english ??= part.innerHTML;
    part.innerHTML = englishOrChinese(part);
  }
}

export function englishOrChinese(part) {
  return language === "en" ? part.dataset.english : CHINESE[part.dataset.text];
}

export function text(key, values = {}) {
  const sentence = SENTENCES[key][language.slice(0, 2)];
  return sentence.replace(/\{([a-z]+)\}/g, (_, name) => values[name]);
}

// The server sends its sentences in both languages.
export function sentenceOf(trouble) {
  if (trouble.code in SENTENCES) return text(trouble.code, trouble);
  return language === "en" ? trouble.error : trouble.chinese;
}

export function number(value, decimals = 0) {
  const options = {minimumFractionDigits: decimals, maximumFractionDigits: decimals};
  const format = {...options, signDisplay: "negative"};
  return value.toLocaleString(language, format).replace("-", "−");
}

// A share that is less than 100% or more than 0% is never rounded to that.
export function percent(share, decimals = 0) {
  const least = 10 ** -decimals;
  if (share < 1 && 100 * share >= 100 - least / 2) return `>${number(100 - least, decimals)}%`;
  if (share > 0 && 100 * share < least / 2) return `<${number(least, decimals)}%`;
  return `${number(100 * share, decimals)}%`;
}

// Softmax is never sure, though a computer's numbers may round it to 0 or 1.
export const certainty = (share, decimals) =>
  percent(Math.min(Math.max(share, Number.EPSILON), 1 - Number.EPSILON), decimals);
